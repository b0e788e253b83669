"""Judges whether a plugin keeps the protocol, whatever language it is written in. Starts it for real.

`CHECKS` and `UNDO_CHECKS` are the lists of what is tried; each entry has the remedy an author is given. Nothing here
knows a hook: the caller brings a sample payload for each hook the plugin offers.
"""

from isolation.conformance.examination import check
from isolation.conformance.rules import ANSWER_MEMBERS, CHECKS, NESTED_LEVELS
from isolation.conformance.undo import UNDO_CHECKS
from isolation.conformance.values import Check, Finding, Outcome, Subject

__all__ = [
    "ANSWER_MEMBERS",
    "CHECKS",
    "NESTED_LEVELS",
    "UNDO_CHECKS",
    "Check",
    "Finding",
    "Outcome",
    "Subject",
    "check",
]
