"""Raises an exception that cannot be printed."""

from penstock_plugin import Plugin


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("not even this")


plugin = Plugin()


@plugin.stage("act")
def act(call):
    raise Unspeakable
