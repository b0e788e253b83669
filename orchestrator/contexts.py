"""What a gateway says about a request, put into Penstock's own context: one shape, whatever the gateway left out.

ContextForge nests most of it under `global_context`, and sends `user` as an object, a text or not at all, all three
within one hook. A caller of our own sends the shape of `pipelines.hooks.CONTEXT` flat. Pure: values in, values out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from orchestrator.traces import MAX_REQUEST_ID_CHARACTERS
from pipelines.body import Body
from pipelines.hooks import CONTEXT
from pipelines.suggest import nearest

__all__ = ["Context", "ContextError", "normalise", "request_id_of"]

_FLAT = frozenset({field.name for field in CONTEXT} | {"tenant_id", "user_context"})


class ContextError(ValueError):
    """The context of a call is not one: a member of the wrong kind, or one that does not belong there."""

    code: ClassVar[str] = "penstock.context"
    hint: ClassVar[str] = "docs/hooks.md lists the members of a context"


def normalise(sent: Mapping[str, object] | None) -> Mapping[str, object]:
    """Return the context of a run; absent texts are "", absent objects {}, absent lists []. Raises ContextError.

    A context that has our shape already comes back as the same object, so that nobody encodes it again.
    """
    sent = {} if sent is None else sent
    full = _full(sent)
    return sent if full == sent else full


class Context(Body):
    """A context that was admitted. Of its `request_id` the beginning was noted then: records and lines of logs hold it
    without its being decoded again, and whoever calls does not decide how much they hold.
    """

    __slots__ = ("request_id",)

    def __init__(self, raw: bytes, tree: Mapping[str, object] | None, request_id: str) -> None:
        super().__init__(raw, tree)
        self.request_id = request_id[:MAX_REQUEST_ID_CHARACTERS]


def request_id_of(context: Body) -> str:
    """The request id of a run's context as it is noted, decoded where it was read back from a journal."""
    if type(context) is Context:
        return context.request_id
    return str(context.tree.get("request_id", ""))[:MAX_REQUEST_ID_CHARACTERS]


def _full(sent: Mapping[str, object]) -> dict[str, object]:
    shared = _object(sent, "global_context")
    if "global_context" not in sent:
        _refuse_unknown(sent)
        shared = sent
    metadata = {**_object(shared, "metadata"), **_object(sent, "metadata")}
    return {
        "request_id": _text(shared, "request_id"),
        "tenant": _text(shared, "tenant") or _text(shared, "tenant_id"),
        "server_id": _text(shared, "server_id"),
        "user": _user(shared),
        "content_type": _text(shared, "content_type"),
        "tool": _about("tool", shared, metadata),
        "gateway": _about("gateway", shared, metadata),
        "metadata": {name: value for name, value in metadata.items() if name not in ("tool", "gateway")},
        "state": {**_object(shared, "state"), **_object(sent, "state")},
    }


def _user(shared: Mapping[str, object]) -> dict[str, object]:
    """Join `user` and the fuller `user_context`, which wins; a user that is a text is an id, and often an e-mail."""
    plain = shared.get("user")
    named = {"id": plain, "email": plain if "@" in plain else ""} if isinstance(plain, str) else _object(shared, "user")
    known = _object(shared, "user_context")
    email = _text(known, "email") or _text(named, "email")
    return {
        "id": _text(known, "user_id") or _text(named, "id") or _text(named, "user_id") or email,
        "email": email,
        "roles": _list(known, "roles") or _list(named, "roles"),
        "groups": _list(known, "groups") or _list(named, "groups"),
        "is_admin": _flag(known if "is_admin" in known else named, "is_admin"),
    }


def _about(name: str, shared: Mapping[str, object], metadata: Mapping[str, object]) -> dict[str, object]:
    """Find the record of the tool or gateway concerned: ContextForge puts it into the metadata."""
    return dict(_object(shared, name) or _object(metadata, name))


def _refuse_unknown(sent: Mapping[str, object]) -> None:
    for name in sent:
        if name not in _FLAT:
            near = nearest(name, _FLAT)
            raise ContextError(f"a context has no member {name!r}" + (f"; did you mean {near!r}?" if near else ""))


def _object(holder: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = holder.get(name)
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise ContextError(f"{name} must be an object, not {type(value).__name__}")


def _text(holder: Mapping[str, object], name: str) -> str:
    value = holder.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise ContextError(f"{name} must be a text, not {type(value).__name__}")


def _list(holder: Mapping[str, object], name: str) -> list[object]:
    value = holder.get(name)
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise ContextError(f"{name} must be a list, not {type(value).__name__}")


def _flag(holder: Mapping[str, object], name: str) -> bool:
    value = holder.get(name)
    if value is None:
        return False
    if isinstance(value, bool):
        return value
    raise ContextError(f"{name} must be true or false, not {type(value).__name__}")
