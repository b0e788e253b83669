"""Joins plans and workers and meets the world: doors, engine, command line."""
