"""Bytes to frames to messages to calls, as tables. No I/O happens here."""
