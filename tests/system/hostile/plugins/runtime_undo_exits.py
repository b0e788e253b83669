"""Ends its process in an undo."""

import os

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return None


@plugin.compensation("unact", undoes="act")
def unact(call):
    os._exit(5)
