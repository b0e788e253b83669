"""Environments and snapshots by content. Builds them, finds them again, collects what is unused."""
