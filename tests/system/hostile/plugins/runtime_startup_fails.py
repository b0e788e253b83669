"""Fails in its startup."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.startup
def load(start):
    raise FileNotFoundError("model.bin")


@plugin.stage("act")
def act(call):
    return None
