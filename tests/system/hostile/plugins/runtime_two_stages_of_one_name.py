"""Declares one stage twice."""

from penstock_plugin import Plugin

plugin = Plugin()


@plugin.stage("act")
def act(call):
    return None


@plugin.stage("act")
def act_again(call):
    return None
