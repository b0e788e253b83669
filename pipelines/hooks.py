"""The hook catalogue: every point where a gateway asks, what it hands over, what it takes back, how it says no.

The table is data; docs/hooks.md is generated from it. Nothing here calls a plugin or decides a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipelines.fields import Field, HookError, Kind, fields_of, misfits
from pipelines.meanings import MEANINGS
from pipelines.suggest import nearest

__all__ = ["CATALOGUE", "CONTEXT", "Field", "Hook", "HookError", "Kind", "custom"]

_REFUSED = "the caller is answered `deny` with the violation, and nothing is changed"


@dataclass(frozen=True, slots=True)
class Hook:
    """One point where a gateway asks.

    `answer` is None where the answer is the payload. `writable` names the payload fields whose change the gateway
    takes; None stands for all. Where `can_deny` is False, `denial` says what becomes of a violation.
    """

    name: str
    family: str
    doc: str
    payload: tuple[Field, ...]
    answer: tuple[Field, ...] | None = None
    can_deny: bool = True
    denial: str = _REFUSED
    writable: frozenset[str] | None = None

    @property
    def admission(self) -> bool:
        """Whether it lets something in for good, so that silence must mean no."""
        return self.name.endswith(("_pre_register", "_pre_create")) or self.name.startswith("auth_pre_")

    def violations_of(self, payload: Mapping[str, object]) -> list[str]:
        """Say in sentences why `payload` does not fit; a field that the hook does not have is a misfit.

        A hook that was declared without fields takes any payload.
        """
        return list(misfits(self.payload, payload)) if self.payload else []


def _hook(  # one row of the table
    name: str, doc: str, payload: Mapping[str, object], denial: str = _REFUSED, *, can_deny: bool = True,
    writes: str | None = None, answer: Mapping[str, object] | None = None,
) -> Hook:  # fmt: skip
    taken = None if writes is None else frozenset(writes.split())
    answered = None if answer is None else fields_of(answer, MEANINGS)
    return Hook(name, name.partition("_")[0], doc, fields_of(payload, MEANINGS), answered, can_deny, denial, taken)


# fmt: off
_RPC = "HTTP 403 with JSON-RPC error -32602, whose `data` carries the code and details of the violation"
_LATE = "ignored, as it has happened already: use `permissive` or `audit` stages"
_DEAF = "ignored by the gateway, which goes on with the request: use `permissive` or `audit` stages"
_LEFT = "what was to be changed is left as it was, and the caller is answered `deny` with the violation"
_MISS = "the look-up counts as a miss"
_ID, _MAYBE_ID, _CHANGE = {"id": "string"}, {"id?": "string"}, {"id": "string", "changes": "object"}
_NAMED = {"name?": "string", "url?": "string"}
_KIND, _LABELS = {"kind": "string"}, {"tags?": "list", "labels?": "object", "visibility?": "string"}
_USER = {"email": "string", "id?": "string", "full_name?": "string", "is_admin?": "bool", "roles?": "list",
         "groups?": "list"}
_CLIENT = {"headers": "object", "client_host?": "string", "client_port?": "int"}
_HTTP = {"path": "string", "method": "string"} | _CLIENT
_TOOL = {"name": "string", "url?": "string", "description?": "string", "integration_type?": "string",
         "input_schema?": "object", "output_schema?": "object", "annotations?": "object", "server_id?": "string",
         "gateway_id?": "string"} | _LABELS
_RESOURCE = {"uri": "string", "name?": "string", "description?": "string", "mime_type?": "string", "content?": "any",
             "server_id?": "string"} | _LABELS
_PEER = {"name": "string", "url": "string", "description?": "string", "transport?": "string",
         "owner?": "string", "capabilities?": "object", "metadata?": "object"} | _LABELS
_SERVER = _PEER | {"certificates?": "list", "evidence?": "object"}
_GRANT = _KIND | {"name?": "string", "subject?": "string", "scopes?": "list", "definition?": "object"}
_REMOTE = _KIND | {"name": "string", "url?": "string", "definition?": "object"}
_SYNC = {"remote": _ID | _NAMED, "direction?": "string", "kinds?": "list"}
_MODEL = {"messages": "list", "model?": "string", "provider?": "string", "parameters?": "object"}
_AGENT = {"agent_id": "string", "messages": "list"}
_ENTRY = {"cache": "string", "key": "string"}
_VALUE = _ENTRY | {"value": "any", "ttl_seconds?": "double"}
_STREAM = {"stream_id": "string", "kind?": "string", "uri?": "string"}
_ERROR = {"code": "string", "message": "string", "hook?": "string", "status_code?": "int", "details?": "object"}

_TABLE = (
    _hook("prompt_pre_fetch", "Before a prompt is rendered.",
          {"prompt_id": "string", "args?": "object"}, _RPC, writes="args"),
    _hook("prompt_post_fetch", "After a prompt was rendered.",
          {"prompt_id": "string", "result": {"messages": "list", "description?": "string"}}, _RPC, writes="result"),
    _hook("tool_pre_invoke", "Before a tool is called.",
          {"name": "string", "args?": "object", "headers?": "object"}, _RPC, writes="name args headers"),
    _hook("tool_post_invoke", "After a tool answered.", {"name": "string", "result": "any"}, _RPC, writes="result"),
    _hook("tool_pre_register", "Before a tool is added.", _TOOL),
    _hook("tool_pre_update", "Before a tool is changed.", _CHANGE, _LEFT),
    _hook("tool_pre_unregister", "Before a tool is taken away.", _ID | {"name?": "string"}, _LEFT),
    _hook("resource_pre_fetch", "Before a resource is read.",
          {"uri": "string", "metadata?": "object"}, _RPC, writes="uri metadata"),
    _hook("resource_post_fetch", "After a resource was read.",
          {"uri": "string", "content": "any"}, _RPC, writes="content"),
    _hook("resource_pre_create", "Before a resource is added.", _RESOURCE),
    _hook("resource_pre_update", "Before a resource is changed.", _CHANGE | {"uri?": "string"}, _LEFT),
    _hook("resource_pre_delete", "Before a resource is taken away.", _ID | {"uri?": "string"}, _LEFT),
    _hook("agent_pre_invoke", "Before an agent is called.",
          _AGENT | {"tools?": "list", "headers?": "object", "model?": "string", "system_prompt?": "string",
                    "parameters?": "object"},
          _RPC, writes="agent_id messages tools headers model system_prompt parameters"),
    _hook("agent_post_invoke", "After an agent answered.",
          _AGENT | {"tool_calls?": "list"}, _RPC, writes="messages tool_calls"),
    _hook("http_pre_request", "Before an HTTP request is handled.", _HTTP, _DEAF, can_deny=False, writes="headers"),
    _hook("http_post_request", "After an HTTP request was handled.",
          _HTTP | {"response_headers?": "object", "status_code?": "int"}, _LATE, can_deny=False,
          writes="response_headers"),
    _hook("http_auth_resolve_user", "Before the gateway reads the credentials of a request itself.",
          {"credentials?": "object"} | _CLIENT, "HTTP 401", answer=_USER),
    _hook("http_auth_check_permission", "Before a signed-in user does something that needs a permission.",
          {"user_email": "string", "permission": "string", "resource_type?": "string", "team_id?": "string",
           "is_admin?": "bool", "auth_method?": "string", "client_host?": "string", "user_agent?": "string"},
          "the answer `granted: false`, which the gateway turns into HTTP 403",
          answer={"granted": "bool", "reason?": "string"}),
    _hook("auth_pre_create", "Before a role, policy, client, key or grant is added.", _GRANT),
    _hook("auth_pre_update", "Before a role, policy, client, key or grant is changed.", _CHANGE | _KIND, _LEFT),
    _hook("auth_pre_delete", "Before a role, policy, client, key or grant is taken away.", _ID | _KIND, _LEFT),
    _hook("auth_pre_check", "Before a sign-in is judged.",
          {"subject": "string", "method?": "string", "credentials?": "object"}),
    _hook("auth_post_check", "After a sign-in was judged.",
          {"subject": "string", "granted": "bool", "method?": "string", "reason?": "string"}, writes="granted reason"),
    _hook("server_pre_register", "Before a server is admitted: where attestation stands.", _SERVER | _MAYBE_ID),
    _hook("server_post_register", "After a server was admitted.", _SERVER | _ID, _LATE, can_deny=False, writes=""),
    _hook("server_pre_update", "Before a server is changed.", _CHANGE | _NAMED, _LEFT),
    _hook("server_pre_unregister", "Before a server is taken away.", _ID | _NAMED, _LEFT),
    _hook("gateway_pre_register", "Before a peer gateway is added.", _PEER | _MAYBE_ID),
    _hook("gateway_post_register", "After a peer gateway was added.", _PEER | _ID, _LATE, can_deny=False, writes=""),
    _hook("gateway_pre_update", "Before a peer gateway is changed.", _CHANGE | _NAMED, _LEFT),
    _hook("gateway_pre_unregister", "Before a peer gateway is taken away.", _ID | _NAMED, _LEFT),
    _hook("federation_pre_sync", "Before a catalogue is exchanged with a remote.", _SYNC, "nothing is exchanged"),
    _hook("federation_post_sync", "After a catalogue came from a remote, before it is used.",
          _SYNC | {"items": "list"}, "what came is dropped", writes="items"),
    _hook("federation_pre_create", "Before a remote, schema or replication rule is added.", _REMOTE),
    _hook("federation_pre_update", "Before a remote, schema or replication rule is changed.", _CHANGE | _KIND, _LEFT),
    _hook("federation_pre_delete", "Before a remote, schema or replication rule is taken away.", _ID | _KIND, _LEFT),
    _hook("completion_pre_request", "Before a request goes to a language model.",
          _MODEL | {"tools?": "list", "stream?": "bool"}),
    _hook("completion_post_response", "After a language model answered.",
          _MODEL | {"finish_reason?": "string", "usage?": "object"}, writes="messages"),
    _hook("cache_pre_put", "Before an entry is kept.", _VALUE, "nothing is kept"),
    _hook("cache_pre_update", "Before an entry is replaced.", _VALUE, "the old entry stays"),
    _hook("cache_pre_evict", "Before an entry is thrown away.", _ENTRY | {"reason?": "string"}, "the entry stays"),
    _hook("cache_pre_get", "Before an entry is looked up.", _ENTRY, _MISS),
    _hook("cache_post_get", "After an entry was found.", _ENTRY | {"value": "any"}, _MISS, writes="value"),
    _hook("stream_pre_open", "Before a subscription or channel is opened.",
          _STREAM | {"headers?": "object"}, "it is not opened"),
    _hook("stream_pre_update", "Before a message goes down a stream.",
          _STREAM | {"data": "any", "sequence?": "int"}, "the message is dropped and the stream closed", writes="data"),
    _hook("stream_pre_close", "Before a stream is closed.",
          _STREAM | {"reason?": "string"}, "ignored: a stream is always let go", can_deny=False, writes=""),
    _hook("error_pre_report", "Before an error is told to the caller.", _ERROR,
          "ignored, as the call has failed already", can_deny=False, writes="message status_code details"),
    _hook("error_post_report", "After an error was told to the caller.", _ERROR, _LATE, can_deny=False, writes=""),
)
# fmt: on

CATALOGUE: Mapping[str, Hook] = MappingProxyType({hook.name: hook for hook in _TABLE})

CONTEXT: tuple[Field, ...] = fields_of(
    {
        "request_id": "string",
        "tenant": "string",
        "server_id": "string",
        "user": {"id": "string", "email": "string", "roles": "list", "groups": "list", "is_admin": "bool"},
        "content_type": "string",
        "tool": "object",
        "gateway": "object",
        "metadata": "object",
        "state": "object",
    },
    MEANINGS,
)

_DECLARED = ("doc", "payload", "answer", "can_deny", "denial")


def custom(name: str, declaration: Mapping[str, object]) -> Hook:
    """Make a hook of what a pipeline file declares: `payload`, and if wanted `answer`, `doc`, `can_deny`, `denial`.

    Raises HookError, whose path leads to the wrong member of the declaration.
    """
    for key in declaration:
        if key not in _DECLARED:
            raise HookError((key,), f"{key!r} does not belong to a hook", nearest(key, _DECLARED))
    if name in CATALOGUE:
        raise HookError((), f"{name} is in the catalogue: it cannot be declared again")
    return Hook(
        name,
        "custom",
        _text(declaration, "doc", ""),
        fields_of(_object(declaration, "payload", {}), MEANINGS, ("payload",)),
        fields_of(_object(declaration, "answer", {}), MEANINGS, ("answer",)) if "answer" in declaration else None,
        _flag(declaration, "can_deny", True),
        _text(declaration, "denial", _REFUSED),
    )


def _text(declaration: Mapping[str, object], key: str, default: str) -> str:
    value = declaration.get(key, default)
    if isinstance(value, str):
        return value
    raise HookError((key,), f"{key} must be a text")


def _flag(declaration: Mapping[str, object], key: str, default: bool) -> bool:
    value = declaration.get(key, default)
    if isinstance(value, bool):
        return value
    raise HookError((key,), f"{key} must be true or false")


def _object(declaration: Mapping[str, object], key: str, default: Mapping[str, object]) -> Mapping[str, object]:
    value = declaration.get(key, default)
    if isinstance(value, Mapping):
        return value
    raise HookError((key,), f"{key} must map field names to kinds")
