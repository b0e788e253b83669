"""Something that is watched changed: look again. Knows files and folders, and nothing of what is made of them."""

from orchestrator.watching.sight import Places
from orchestrator.watching.watch import Watch

__all__ = ["Places", "Watch"]
