"""Raises CancelledError though nobody cancelled it."""

import asyncio

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
async def act(call):
    raise asyncio.CancelledError
