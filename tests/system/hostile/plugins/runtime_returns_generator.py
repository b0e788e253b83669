"""Returns a generator."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return (word for word in call.payload)
