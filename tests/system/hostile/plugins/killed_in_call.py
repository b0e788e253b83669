"""Is killed in the middle of a call, as the kernel does when memory runs out."""

import os
import signal

from peer import Peer


class Hostile(Peer):
    def invoke(self, number, params):
        os.kill(os.getpid(), signal.SIGKILL)


Hostile().serve()
