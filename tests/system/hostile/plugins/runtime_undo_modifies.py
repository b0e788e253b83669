"""Answers an undo with a payload."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return None


@plugin.compensation("unact", undoes="act")
def unact(call):
    return call.modify({})
