"""Never finishes its startup, and says nothing."""

import signal

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.startup
def load(start):
    signal.pause()


@plugin.stage("act")
def act(call):
    return None
