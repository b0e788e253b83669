"""Verifies what is presented, without I/O and without a clock: bytes, anchors, rules and time in, an outcome out."""
