"""Answers with a set, which is no JSON."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return call.allow(out={"found": {1, object()}})
