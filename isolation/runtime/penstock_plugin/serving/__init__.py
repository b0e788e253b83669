"""Answers the host's requests inside the plugin's environment. Authors need nothing of it."""
