"""A stage that only works with pydantic 1: it uses what pydantic 2 took away."""

from __future__ import annotations

import sys

import pydantic
from penstock_plugin import Answer, Call, Plugin

plugin = Plugin()


class Query(pydantic.BaseModel):
    """Arguments; `Config.extra` and `parse_obj` are pydantic 1's."""

    class Config:
        """What else may be there."""

        extra = pydantic.Extra.allow

    q: str = ""


@plugin.stage("validate")
def validate(call: Call) -> Answer:
    """Put out which pydantic this is, and how many of the host's packages can be seen from here."""
    Query.parse_obj(call.payload.get("args") or {})
    seen = [name for name in sys.modules if name.split(".")[0] in ("orchestrator", "isolation", "pipelines")]
    return call.allow(out={"version": pydantic.VERSION, "host_modules": len(seen)})
