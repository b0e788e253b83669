"""Ends the process in a call."""

import os

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    os._exit(5)
