"""Answers with more than a frame may hold."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return call.modify({"q": "x" * 2_000_000})
