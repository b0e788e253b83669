"""A stage that only works with pydantic 2: it uses what pydantic 1 does not have."""

from __future__ import annotations

import sys

import pydantic
from penstock_plugin import Answer, Call, Plugin

plugin = Plugin()


class Query(pydantic.BaseModel):
    """Arguments; `model_config` and `model_validate` are pydantic 2's."""

    model_config = pydantic.ConfigDict(extra="allow")

    q: str = ""


@plugin.stage("validate")
def validate(call: Call) -> Answer:
    """Put out which pydantic this is, and how many of the host's packages can be seen from here."""
    Query.model_validate(call.payload.get("args") or {})
    seen = [name for name in sys.modules if name.split(".")[0] in ("orchestrator", "isolation", "pipelines")]
    return call.allow(out={"version": pydantic.VERSION, "host_modules": len(seen)})
