"""Says how large a tool call is, in a header for whoever routes it."""

from penstock_plugin import Plugin

plugin = Plugin()

LARGE_CHARACTERS = 40


@plugin.stage("size")
def size(call):
    """Changes nothing: the label is a hint."""
    characters = sum(len(str(value)) for value in call.payload["args"].values())
    label = "large" if characters > LARGE_CHARACTERS else "small"
    return call.allow(out={"size": label}, hints={"http_headers": {"x-call-size": label}})
