"""What a plugin is written with: declare a `Plugin`, give it stages, answer each `Call`.

    from penstock_plugin import Plugin

    plugin = Plugin()

    @plugin.stage("mask")
    def mask(call):
        return call.modify({**call.payload, "name": "***"})

Needs the standard library only. The host brings it by path, so a plugin does not list it among its dependencies;
installed on its own (distribution `penstock-plugin`) it gives types and the test kit, `penstock_plugin.testing`.
"""

from .answer import Answer, Busy, Retryable, Undone, Violation
from .call import Call, Config, Deadline, Start
from .plugin import DeclarationError, Plugin

__all__ = [
    "Answer",
    "Busy",
    "Call",
    "Config",
    "Deadline",
    "DeclarationError",
    "Plugin",
    "Retryable",
    "Start",
    "Undone",
    "Violation",
]
