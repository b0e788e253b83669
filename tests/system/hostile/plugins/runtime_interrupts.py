"""Raises KeyboardInterrupt in a call."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    raise KeyboardInterrupt
