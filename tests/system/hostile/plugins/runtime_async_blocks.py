"""Blocks its event loop in an async stage."""

import signal

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
async def act(call):
    signal.pause()
