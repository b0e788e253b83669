"""Calls something else its plugin."""

plugin = object()
