"""Raises an exception with a message of megabytes."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    raise ValueError("x" * 5_000_000)
