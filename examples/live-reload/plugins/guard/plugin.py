"""Denies tool calls that name one of the configured words."""

from penstock_plugin import Plugin

plugin = Plugin()


def named_in(text, words):
    """The first of the words that the text holds, or None."""
    return next((word for word in words if word in text), None)


@plugin.stage("check")
def check(call):
    """Every value of the arguments is looked at as text."""
    for value in call.payload["args"].values():
        found = named_in(str(value), call.config["words"])
        if found:
            return call.deny("guard.word", f"the arguments name {found}", http_status=403)
    return None


@plugin.stage("self_test")
def self_test(call):
    """Each of the words must be found, and nothing in a text without them."""
    words = call.config["words"]
    missed = [word for word in words if named_in(f"about {word}.", words) is None]
    if missed:
        return call.deny("guard.blind", f"does not see {', '.join(missed)}")
    if named_in("", words) is not None:
        return call.deny("guard.paranoid", "sees words where there are none")
    return None
