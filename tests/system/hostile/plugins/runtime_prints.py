"""Prints to stdout and writes to descriptor 1, as C code does."""

import os
import sys

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    print('{"jsonrpc":"2.0","id":1,"result":{}}', flush=True)
    sys.__stdout__.write("noise\\n")
    os.write(1, b"noise from C\\n")
    os.system("echo noise from a program")
