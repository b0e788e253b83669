"""A world in memory: files and manifests as values, so that lint is tested without a disk."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from pipelines.declaration import HookUse, PluginDeclaration, StageDeclaration
from pipelines.file.layers import Unreadable, stack
from pipelines.file.overriding import Override
from pipelines.lint.check import check
from pipelines.lint.draft import BadPlugin
from pipelines.plan import Plan
from pipelines.problem import Problem, SpecError

ARGS = HookUse(writes=(("payload", "args"),))
NAME = HookUse(writes=(("payload", "name"),))


def stage(name: str, hooks: Mapping[str, HookUse] | None = None, **outputs: str) -> StageDeclaration:
    return StageDeclaration(name, outputs=outputs, hooks=hooks)


PII = PluginDeclaration(
    "pii",
    "1.0",
    {
        "mask": stage("mask", {"tool_pre_invoke": ARGS, "prompt_pre_fetch": ARGS}, found="int"),
        "count": stage("count", total="int"),
        "rename": stage("rename", {"tool_pre_invoke": NAME}),
    },
    config_schema={"type": "object", "properties": {"keep": {"type": "integer"}}},
)

LEDGER = PluginDeclaration(
    "ledger",
    "1.0",
    {
        "reserve": StageDeclaration("reserve", "external", idempotent=True, outputs={"ticket": "string"}),
        "release": StageDeclaration("release", undoes="reserve"),
        "charge": StageDeclaration("charge", "external", outputs={"amount": "int"}),
        "append": StageDeclaration("append", "local"),
        "peek": StageDeclaration("peek", outputs={"balance": "int"}),
        "forget": StageDeclaration("forget", undoes="peek"),
    },
)

LOOKS = HookUse(reads=(("payload", "url"),), writes=())
ATTESTATION = PluginDeclaration(
    "attestation",
    "1.0",
    {
        "identity": stage("identity", {"server_pre_register": LOOKS}, result="object"),
        "rename": stage("rename", {"server_pre_register": HookUse(writes=(("payload", "url"),))}),
        "appraise": StageDeclaration("appraise", hooks={"server_pre_register": LOOKS}, admits=True),
    },
)

PLUGINS = {"./pii": PII, "./ledger": LEDGER, "./attestation": ATTESTATION}


@dataclass
class World:
    """Files by name and plugins by source."""

    files: dict[str, str | bytes] = field(default_factory=dict)
    plugins: dict[str, PluginDeclaration] = field(default_factory=lambda: dict(PLUGINS))

    def resolve(self, written: str, beside: str) -> str:
        return posixpath.normpath(posixpath.join(posixpath.dirname(beside), written))

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise Unreadable("no such file")
        content = self.files[name]
        return content if isinstance(content, bytes) else content.encode()

    def declaration(self, source: str, beside: str) -> PluginDeclaration:
        if source not in self.plugins:
            raise BadPlugin("no such folder")
        return self.plugins[source]

    def plan(self, text: str, profile: str | None = None, *overrides: Override) -> Plan:
        """Check `text` as the file p.yaml."""
        self.files["p.yaml"] = text
        return check(stack("p.yaml", self), self, self, profile, overrides)

    def problems(self, text: str, profile: str | None = None, *overrides: Override) -> tuple[Problem, ...]:
        """What is wrong with `text`."""
        with pytest.raises(SpecError) as error:
            self.plan(text, profile, *overrides)
        return error.value.problems

    def refused(self, text: str, profile: str | None = None) -> list[str]:
        """What is wrong with `text`, each problem as `line:column code path`."""
        return [f"{p.mark.line}:{p.mark.column} {p.code} {p.path}" for p in self.problems(text, profile)]
