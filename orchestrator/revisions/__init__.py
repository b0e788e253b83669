"""Revisions: plans put into service one after another, each to be seen before and undone after."""
