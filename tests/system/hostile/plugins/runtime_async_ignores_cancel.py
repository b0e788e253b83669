"""Swallows its cancellation and goes on waiting."""

import asyncio

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
async def act(call):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
