"""Closes its standard descriptors."""

import os

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    for descriptor in (0, 1, 2):
        os.close(descriptor)
