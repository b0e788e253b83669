"""The stage `check`: arguments before a call, the result after it, each against the schema for its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from penstock_plugin import Answer, Call, Config, Plugin
from schemas import Declared, Schema, SchemaError, Table, complaints

plugin = Plugin()


@dataclass(frozen=True, slots=True)
class Subject:
    """What a hook's payload is judged by: the setting with its schemas, who it is, and what of it is checked."""

    setting: str
    named_by: str
    field: str
    declared_as: str | None


SUBJECTS = {
    "tool_pre_invoke": Subject("tools", "name", "args", "input_schema"),
    "tool_post_invoke": Subject("results", "name", "result", "output_schema"),
    "prompt_pre_fetch": Subject("prompts", "prompt_id", "args", None),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """`with`, ready for use. `deny_unknown` names the settings whose unknown names are denied."""

    tables: Mapping[str, Table]
    deny_unknown: frozenset[str]
    use_declared: bool
    max_errors: int
    declared: Declared = field(default_factory=Declared)


@plugin.configure
def compile_schemas(config: Config) -> Settings:
    """Compile every schema once for each distinct `with`."""
    unknown = config.get("unknown", "allow") == "deny"
    return Settings(
        tables={name: Table(config.get(name, {}), name) for name in ("tools", "results", "prompts")},
        # A result always belongs to a call that was let through: no schema for it is no reason to deny.
        deny_unknown=frozenset({"tools", "prompts"} if unknown else ()),
        use_declared=config.get("use_declared", False),
        max_errors=config.get("max_errors", 10),
    )


@plugin.stage("check")
def check(call: Call) -> Answer | None:
    """Deny what its schema refuses; `out` says whether there was a schema and how many things it found wrong."""
    subject = SUBJECTS.get(call.hook)
    if subject is None:
        return None
    settings: Settings = call.config
    name = str(call.payload.get(subject.named_by, ""))
    try:
        schema, field_name, value = _found(call, settings, subject, name)
    except SchemaError as error:
        return call.deny("schema_unusable", f"the schema that '{name}' declares cannot be used", description=str(error))
    if schema is None:
        return _unknown(call, settings, subject, name)
    return _judged(call, settings, name, complaints(schema, value, field_name, settings.max_errors))


def _found(call: Call, settings: Settings, subject: Subject, name: str) -> tuple[Schema | None, str, object]:
    """Return the schema, what it is for, and the value: the operator's own, else the one that the tool declares."""
    value = call.payload.get(subject.field)
    if subject.field == "args" and value is None:
        value = {}  # a call without arguments
    if (schema := settings.tables[subject.setting].get(name)) is not None:
        return schema, subject.field, value
    if not settings.use_declared or subject.declared_as is None:
        return None, subject.field, value
    declared = _declaration(call.context).get(subject.declared_as)
    if not isinstance(declared, dict | bool):
        return None, subject.field, value
    schema = settings.declared.get(declared, subject.declared_as)
    if subject.field == "result":  # MCP: outputSchema is about structuredContent, which a failed call does not have
        structured = value.get("structuredContent") if isinstance(value, dict) else None
        return (None if structured is None else schema), "result.structuredContent", structured
    return schema, subject.field, value


def _declaration(context: Mapping[str, object]) -> Mapping[str, object]:
    """Return what the gateway says about the tool, which doors put at `context.tool`."""
    tool = context.get("tool") or (context.get("metadata") or {}).get("tool")
    return tool if isinstance(tool, dict) else {}


def _unknown(call: Call, settings: Settings, subject: Subject, name: str) -> Answer:
    out = {"checked": False, "errors": 0}
    if subject.setting not in settings.deny_unknown:
        return call.allow(out=out)
    return call.deny("unknown_name", f"there is no schema for '{name[:100]}'", details={"name": name[:100]}, out=out)


def _judged(call: Call, settings: Settings, name: str, found: list) -> Answer:
    out = {"checked": True, "errors": len(found)}
    if not found:
        return call.allow(out=out)
    first = found[0]
    return call.deny(
        "schema_mismatch",
        f"'{name[:100]}': {first.path}: {first.message}",
        description="What was sent does not fit the schema. Values are not repeated here.",
        details={"errors": [asdict(complaint) for complaint in found], "complete": len(found) < settings.max_errors},
        out=out,
    )
