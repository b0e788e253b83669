"""The least a plugin can do: look at nothing, or look at everything and change nothing."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("pass_through")
def pass_through(call):
    """Never look at the payload."""


@plugin.stage("read_all")
def read_all(call):
    """Decode the whole payload and change nothing."""
    if not call.payload:
        raise ValueError("an empty payload")
