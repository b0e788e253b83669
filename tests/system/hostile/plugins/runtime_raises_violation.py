"""Denies by raising, which is no fault."""

from penstock_plugin import Plugin, Violation

plugin = Plugin()


@plugin.stage("act")
def act(call):
    raise Violation("no", "because")
