"""Logs what cannot be written."""

import logging

from penstock_plugin import Plugin


class Unspeakable:
    def __str__(self):
        raise RuntimeError


plugin = Plugin()


@plugin.stage("act")
def act(call):
    logging.getLogger("\ud800").error("%s and %s", "\ud800", 3, extra={"n": float("nan"), "o": object()})
    logging.getLogger().error("%d", "not a number")
    logging.getLogger().error("%s", Unspeakable())
    logging.getLogger().error("x" * 10_000_000)
