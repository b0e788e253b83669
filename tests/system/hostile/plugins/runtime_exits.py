"""Calls sys.exit in a call."""

import sys

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    sys.exit("I am done")
