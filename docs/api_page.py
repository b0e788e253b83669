"""Makes docs/openapi.json: what the HTTP door of `penstock serve` takes and gives, from its own paths and types."""

from __future__ import annotations

from typing import cast

import msgspec

from orchestrator.control.commands import Control
from orchestrator.http.openapi import document
from orchestrator.orchestrator import Orchestrator

__all__ = ["openapi_json"]


class _Nobody:
    """Stands for a host, whose table of commands is looked at and never used."""

    def __getattr__(self, name: str) -> _Nobody:
        return self


def openapi_json() -> str:
    """Render docs/openapi.json."""
    control = Control(cast("Orchestrator", _Nobody()))
    made = msgspec.json.encode(document(control.commands, control.streams))
    return msgspec.json.format(made, indent=2).decode() + "\n"
