"""Answers with NaN."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return call.modify({"q": [1.0, float("nan")]})
