"""Reads its stdin, where the frames are not."""

import sys

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return call.allow(out={"read": sys.stdin.read()})
