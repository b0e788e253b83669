"""Lines as requests, and the parameters of requests as values. Refuses with a `Fault` what is none."""

from __future__ import annotations

from ..call import Config
from .codec import InvalidMessage, PlainParameters
from .faults import INVALID_PARAMS, INVALID_REQUEST, PARSE, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..call import Parameters
    from .codec import Codec

__all__ = ["CALLS", "Request", "plain_parameters", "request_of", "version_of", "wanted_configs"]

CALLS = frozenset({"stage/invoke", "stage/compensate"})
"""The methods that call a stage."""


class Request:
    """A request or, with `id` None, a notification."""

    __slots__ = ("id", "method", "params")

    def __init__(self, call_id: int | None, method: str, params: object) -> None:
        self.id = call_id
        self.method = method
        self.params = params


def request_of(codec: Codec, line: bytes) -> Request | None:
    """A line as a request; None for an answer, which nobody waits for here. Raises Fault for what is neither."""
    try:
        message = codec.decode(line)
    except ValueError as error:
        raise Fault(PARSE, f"not a line of JSON: {error}") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Fault(INVALID_REQUEST, "not a JSON-RPC 2.0 message")
    if "method" not in message and ("result" in message or "error" in message):
        return None
    call_id, method = message.get("id"), message.get("method")
    # In Python 1, 1.0 and True are equal; on the wire they are three different ids.
    if not isinstance(method, str) or ("id" in message and type(call_id) is not int):
        raise Fault(INVALID_REQUEST, "method must be a string and id an integer")
    return Request(call_id, method, message.get("params", {}))


def plain_parameters(request: Request) -> tuple[Parameters, object]:
    """Parameters and payload of a call that another host wrote, its members in any order."""
    members = request.params
    if not isinstance(members, dict):
        raise Fault(INVALID_PARAMS, "params must be an object")
    if not isinstance(members.get("payload"), dict):
        raise Fault(INVALID_PARAMS, "params.payload must be an object")
    try:
        parameters = PlainParameters(members)
    except InvalidMessage as error:
        raise Fault(INVALID_PARAMS, str(error)) from None
    if bool(parameters.undoes) is not (request.method == "stage/compensate"):
        raise Fault(INVALID_PARAMS, "params.undoes is the key of a call to undo: stage/compensate has it, no other")
    return parameters, members["payload"]


def wanted_configs(members: object) -> dict[str, Config]:
    """The table of a `configure` request. Raises Fault when it is none."""
    table = members.get("configs") if isinstance(members, dict) else None
    if not isinstance(table, dict):
        raise Fault(INVALID_PARAMS, "params.configs must be an object")
    if not all(isinstance(entry, dict) for entry in table.values()):
        raise Fault(INVALID_PARAMS, "every configuration must be an object with the member `with`")
    return {name: Config(entry.get("with") or {}, entry.get("secrets")) for name, entry in table.items()}


def version_of(text: str) -> tuple[int, ...]:
    """A protocol version such as `1.0` as numbers that compare."""
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        raise Fault(INVALID_PARAMS, f"{text!r} is no protocol version") from None
