"""The paths that show something of the host: what each is, for the routes and for the document of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["READS", "Read"]


@dataclass(frozen=True, slots=True)
class Read:
    """A command that only looks, under a path of its own; its parameters stand in the path and the query."""

    command: str
    summary: str


READS: Mapping[str, Read] = {
    "/v1/status": Read("status", "What the host serves, and how its plugins stand."),
    "/v1/runs": Read("runs.list", "The newest runs."),
    "/v1/runs/{run}": Read("runs.show", "Everything that is known of one run; its id may be named by its end."),
    "/v1/breakers": Read("breakers.list", "Every breaker and how it stands."),
}
