"""Undoes a stage that it does not have."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.compensation("unact", undoes="atc")
def unact(call):
    return None
