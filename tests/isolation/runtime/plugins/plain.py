"""Plain stages, one for each thing a test wants to see."""

import os
import subprocess
import sys
import threading

from penstock_plugin import Busy, Plugin, Retryable, Violation

plugin = Plugin()
seen = {"startups": 0, "configured": []}


@plugin.startup
def load(start):
    seen["startups"] += 1
    start.progress("half way", done=1, total=2)


@plugin.configure
def prepare(config):
    seen["configured"].append(dict(config))
    return {"words": config.get("words", []), "secret": config.secrets.get("token")}


@plugin.stage("nothing")
def nothing(call):
    return None


@plugin.stage("everything")
def everything(call):
    call.progress("begun", done=0.5)
    return call.allow(
        out={
            "hook": call.hook,
            "stage": call.stage,
            "run": call.run,
            "key": call.key,
            "attempt": call.attempt,
            "trace": call.trace,
            "payload": call.payload,
            "context": call.context,
            "input": call.input,
            "config": call.config,
            "secrets": call.secrets,
            "remaining": call.deadline.remaining(),
        }
    )


@plugin.stage("modify")
def modify(call):
    call.payload["args"] = {"q": "\U0001f600"}
    return call.modify(call.payload, out={"n": 2**70}, state={"seen": True}, hints={"retry_after_ms": 5})


@plugin.stage("patch")
def patch(call):
    return call.patch({"args": {"q": None}})


@plugin.stage("respond")
def respond(call):
    return call.respond({"id": "ana"})


@plugin.stage("deny")
def deny(call):
    return call.deny("no", "because", details={"n": 1}, http_status=403, retry_after_ms=10, out={"n": 1})


@plugin.stage("return_violation")
def return_violation(call):
    return Violation("no", "because")


@plugin.stage("raise")
def raise_(call):
    raise {"retryable": Retryable("later", retry_after_ms=7), "busy": Busy("full"), "value": ValueError("x")}[
        call.payload["what"]
    ]


@plugin.stage("reserve")
def reserve(call):
    return call.allow(out={"undoes": call.undoes})


@plugin.compensation("release", undoes="reserve")
def release(call):
    what = call.payload.get("what")
    if what == "raises":
        raise Violation("no", "because")
    answers = {
        "nothing": None,
        "payload": call.modify({}),
        "patch": call.patch({}),
        "state": call.allow(state={}),
        "hints": call.allow(hints={}),
        "result": call.respond({}),
        "violation": call.deny("no", "because"),
    }
    return answers.get(what, call.allow(out={"undoes": call.undoes, "key": call.key, "payload": call.payload}))


@plugin.stage("modules")
def modules(call):
    return call.allow(out={"modules": sorted(sys.modules), "path": sys.path, "argv": sys.argv})


@plugin.stage("descriptors")
def descriptors(call):
    listing = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True).stdout
    own = {number: os.readlink(f"/proc/self/fd/{number}") for number in ("0", "1", "2")}
    return call.allow(out={"of_a_child": listing, "own": own})


@plugin.stage("seen")
def what_was_seen(call):
    return call.allow(out=dict(seen))


@plugin.stage("log")
def log(call):
    import logging

    call.log.info("found %d", 3, extra={"fields_are": "kept", "count": 2})
    logging.getLogger("mine").debug("not shown")
    logging.getLogger("mine").warning("x" * 10_000)
    try:
        raise KeyError("inside")
    except KeyError:
        logging.getLogger("mine").exception("it broke")
    thread = threading.Thread(target=logging.getLogger("thread").error, args=("from a thread",))
    thread.start()
    thread.join()
