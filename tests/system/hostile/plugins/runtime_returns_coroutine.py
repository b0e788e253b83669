"""Returns a coroutine from a plain function."""

from penstock_plugin import Plugin


async def later():
    return None


plugin = Plugin()


@plugin.stage("act")
def act(call):
    return later()
