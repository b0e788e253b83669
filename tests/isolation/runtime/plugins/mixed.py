"""Async stages and a plain one, side by side."""

import asyncio
import logging
import threading

from penstock_plugin import Plugin, Violation

plugin = Plugin()
gate = asyncio.Event()
inside = {"async": 0, "most": 0, "threads": set()}


@plugin.startup
async def load(start):
    await asyncio.sleep(0)
    start.progress("awake")


@plugin.configure
async def prepare(config):
    await asyncio.sleep(0)
    return {**config, "prepared": True}


@plugin.stage("wait")
async def wait(call):
    inside["async"] += 1
    inside["most"] = max(inside["most"], inside["async"])
    try:
        await gate.wait()
    finally:
        inside["async"] -= 1
    return call.allow(out={"most": inside["most"]})


@plugin.stage("open")
async def open_gate(call):
    gate.set()


@plugin.stage("stubborn")
async def stubborn(call):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return call.allow(out={"finished": "all the same"})


@plugin.stage("plain")
def plain(call):
    inside["threads"].add(threading.get_ident())
    logging.getLogger("plain").info("in a thread")
    return call.allow(out={"threads": len(inside["threads"]), "main": threading.current_thread().name})


@plugin.stage("stop_iteration")
def stop_iteration(call):
    raise StopIteration


@plugin.stage("exit")
async def leave(call):
    raise SystemExit(3)


@plugin.stage("deny")
async def deny(call):
    raise Violation("no", "because")


@plugin.compensation("unwait", undoes="wait")
async def unwait(call):
    await asyncio.sleep(0)
    return call.allow(out={"undoes": call.undoes})


@plugin.compensation("unplain", undoes="plain")
def unplain(call):
    return call.deny("no", "because")


@plugin.stage("log")
async def log(call):
    await asyncio.sleep(0)
    logging.getLogger("mine").info("after an await")
    return call.allow(out=call.config)
