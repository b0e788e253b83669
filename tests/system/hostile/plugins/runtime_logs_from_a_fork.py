"""Logs from a forked child, which must not write frames."""

import logging
import os

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    child = os.fork()
    logging.getLogger("fork").warning("who am I")
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
