"""Answers with a list that holds itself."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    cycle = []
    cycle.append(cycle)
    return call.modify({"q": cycle})
