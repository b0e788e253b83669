"""Answers with half of a surrogate pair."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return call.modify({"q": "\ud800"})
