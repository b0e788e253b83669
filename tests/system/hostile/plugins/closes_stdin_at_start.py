"""Closes its stdin before the handshake and lives on."""

import os
import signal

os.close(0)
signal.pause()
