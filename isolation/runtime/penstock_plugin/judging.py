"""Judges an answer as the host would: is it JSON, does it keep to the manifest. Values in, complaints out."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Path = tuple[str, ...]

__all__ = ["HINTS", "VIOLATION", "changed_paths", "complaints_about", "merged", "not_json"]

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "double": (int, float),
    "bool": (bool,),
    "list": (list, tuple),
    "object": (dict,),
}
VIOLATION: Mapping[str, tuple[type, ...]] = {
    "code": (str,),
    "reason": (str,),
    "description": (str,),
    "details": (dict,),
    "http_status": (int,),
    "http_headers": (dict,),
    "retry_after_ms": (int,),
}
HINTS = {name: VIOLATION[name] for name in ("http_headers", "retry_after_ms")}


def not_json(value: object, path: str) -> str | None:
    """Why a value cannot be written as JSON, naming the place; None when it can."""
    if value is None or isinstance(value, (bool, int)):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} is {value}, which JSON has no word for"
    if isinstance(value, str):
        return None if _encodes(value) else f"{path} holds half of a surrogate pair, which UTF-8 has no bytes for"
    if isinstance(value, dict):
        wrong = next((key for key in value if not isinstance(key, str) or not _encodes(key)), None)
        if wrong is not None:
            return f"{path} has the key {wrong!r}; the keys of an object are strings"
        return next(filter(None, (not_json(item, f"{path}.{key}") for key, item in value.items())), None)
    if isinstance(value, (list, tuple)):
        return next(filter(None, (not_json(item, f"{path}[{at}]") for at, item in enumerate(value))), None)
    return f"{path} is of type {type(value).__name__}, which is not JSON"


def _encodes(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def complaints_about(
    answer: Mapping[str, Any], declared: Mapping[str, Any] | None, changed: set[Path], hook: str
) -> Iterator[str]:
    """What the host would refuse in an answer. `declared` is the stage's table in the manifest, if there is one."""
    for name, value in answer.items():
        if (complaint := not_json(value, name)) is not None:
            yield complaint
    if "violation" in answer:
        yield from _shape("violation", answer["violation"], VIOLATION)
    if "hints" in answer:
        yield from _shape("hints", answer["hints"], HINTS)
    if declared is not None:
        yield from _undeclared(answer.get("out") or {}, declared.get("outputs") or {})
        yield from _unwritable(changed, declared.get("hooks"), hook)


def _shape(what: str, value: Mapping[str, object], shape: Mapping[str, tuple[type, ...]]) -> Iterator[str]:
    for name, item in value.items():
        if name not in shape:
            yield f"{what}.{name} is not part of the protocol; there are {', '.join(shape)}"
        elif not _is_one_of(item, shape[name]):
            yield f"{what}.{name} must be {shape[name][0].__name__}, not {type(item).__name__}"
    headers = value.get("http_headers")
    if isinstance(headers, dict) and not all(isinstance(text, str) for text in headers.values()):
        yield f"{what}.http_headers must map names to strings"


def _undeclared(out: Mapping[str, object], outputs: Mapping[str, str]) -> Iterator[str]:
    for name, value in out.items():
        if name not in outputs:
            yield f"out.{name} is not among the manifest's outputs: {', '.join(outputs) or 'there are none'}"
        elif outputs[name] != "any" and not _is_one_of(value, _KINDS.get(outputs[name], ())):
            yield f"out.{name} must be {outputs[name]} by the manifest, not {type(value).__name__}"


def _unwritable(changed: set[Path], hooks: object, hook: str) -> Iterator[str]:
    if hooks is None:
        return
    if hook not in hooks:  # type: ignore[operator]  # a list in the short form, a table in the long one
        yield f"the manifest does not offer this stage on the hook {hook!r}"
        return
    writes = hooks[hook].get("writes") if isinstance(hooks, dict) else None
    if writes is None:
        return
    allowed = [tuple(path.split(".")) for path in writes]
    for path in sorted(changed):
        if not any(path[: len(prefix)] == prefix for prefix in allowed):
            yield f"{'.'.join(path)} was changed; the manifest's `writes` allow {', '.join(writes) or 'nothing'}"


def _is_one_of(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def merged(target: object, patch: object) -> object:
    """RFC 7396 section 2: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def changed_paths(before: object, after: object, path: Path = ("payload",)) -> set[Path]:
    """Where two values differ; a list counts as one."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: set[Path] = set()
        for name in before.keys() | after.keys():
            if name in before and name in after:
                found |= changed_paths(before[name], after[name], (*path, name))
            else:
                found.add((*path, name))
        return found
    same = type(before) is type(after) and before == after
    return set() if same else {path}
