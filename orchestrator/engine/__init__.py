"""A call of a hook in motion: runs of its pipelines, what they invoke, undo and finish with."""
