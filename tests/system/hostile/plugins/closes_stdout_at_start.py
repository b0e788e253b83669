"""Closes its stdout before the handshake and lives on."""

import os
import signal

os.close(1)
signal.pause()
