"""A stage and its undo, as the second transcript has them."""

from penstock_plugin import Plugin
from penstock_plugin.effects import Effects

plugin = Plugin()
effects = Effects()
plugin.startup(effects.open)
tickets = iter(("T1", "T2", "T3"))


@plugin.stage("reserve")
def reserve(call):
    with effects.once(call) as effect:
        if effect.due:
            effect.out = {"ticket": next(tickets)}
    return call.allow(out=effect.out)


@plugin.compensation("release", undoes="reserve")
def release(call):
    with effects.undo(call) as effect:
        if effect.due:
            effect.out = {"released": effect.did["ticket"]}
    return call.allow(out=effect.out) if effect.out else None
