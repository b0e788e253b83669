"""Never ends an undo, and does not hear that it is cancelled."""

import asyncio

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return None


@plugin.compensation("unact", undoes="act")
async def unact(call):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
