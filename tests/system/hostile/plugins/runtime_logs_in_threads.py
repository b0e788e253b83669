"""Logs from many threads while it answers."""

import logging
import threading

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    def shout():
        for count in range(200):
            logging.getLogger("thread").warning("%s %s", count, "x" * 3000)

    threads = [threading.Thread(target=shout) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
