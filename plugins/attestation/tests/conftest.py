"""Generated examples are not kept on disk: the plugin's folder is what its digest is made of."""

from hypothesis import settings

settings.register_profile("plugin", database=None, deadline=None)
settings.load_profile("plugin")
