"""Denies an undo."""

from penstock_plugin import Plugin, Violation

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return None


@plugin.compensation("unact", undoes="act")
def unact(call):
    raise Violation("no", "it is done")
