"""A toy shop whose effects are done once and undone once, whatever is killed meanwhile."""

from penstock_plugin import Plugin, Violation
from penstock_plugin.effects import Effects
from trouble import Trouble
from world import World

plugin = Plugin()
effects = Effects()
plugin.startup(effects.open)


class Terms:
    """What one `with` says."""

    def __init__(self, config):
        self.world = World(effects.folder / config.get("ledger", "world.jsonl"))
        self.most = config.get("most", 10)
        self.credit = config.get("credit", 100)


@plugin.configure
def terms(config):
    return Terms(config)


@plugin.stage("reserve")
def reserve(call):
    if order(call).get("quantity", 1) > call.config.most:
        return call.deny("shop.sold_out", f"there are {call.config.most} left")
    return done(call)


@plugin.compensation("release", undoes="reserve")
def release(call):
    return undone(call)


@plugin.stage("charge")
def charge(call):
    if order(call).get("amount", 0) > call.config.credit:
        raise Violation("shop.declined", "the account does not cover it", http_status=402)
    return done(call)


@plugin.compensation("refund", undoes="charge")
def refund(call):
    return undone(call)


@plugin.stage("notify")
def notify(call):
    return done(call)


@plugin.stage("record")
def record(call):
    with effects.once(call) as effect:
        if effect.due:
            call.config.world.change(call.key, call.stage, "do", note=call.input.get("verdict"))
    return call.allow()


def order(call):
    """What is ordered: the arguments of the call, and over them what the pipeline file's `in` maps."""
    return {**call.payload.get("args", {}), **call.input}


def done(call):
    """Do it once for this key."""
    trouble = Trouble(call)
    with effects.once(call) as effect:
        if effect.due:
            trouble.before()
            # Of an attempt that died nobody knows how far it got; the world does.
            if not (effect.unknown and call.config.world.saw(call.key, "do")):
                call.config.world.change(call.key, call.stage, "do")
            trouble.after()
            effect.out = {"receipt": f"{call.stage}:{call.key}"}
    return call.allow(out=effect.out)


def undone(call):
    """Take back what was done for `call.undoes`, if anything was."""
    trouble = Trouble(call)
    with effects.undo(call) as effect:
        if effect.due:
            trouble.before()
            happened = effect.did is not None or call.config.world.saw(call.undoes, "do")
            if happened and not (effect.unknown and call.config.world.saw(call.undoes, "undo")):
                call.config.world.change(call.undoes, call.stage, "undo")
            trouble.after()
            effect.out = {"undone": happened}
    return call.allow(out={"undone": False, **effect.out})
