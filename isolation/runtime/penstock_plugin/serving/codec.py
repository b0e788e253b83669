"""JSON, as fast as the plugin's own environment allows: msgspec, orjson, or the standard library.

The one module of the runtime that looks for something installed. A call's payload is cut off its line unparsed,
by the length that the host wrote in front of everything else; it is decoded when the author looks at it.
"""

from __future__ import annotations

import json
import math
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..call import Parameters

    Invocation = tuple[int, Parameters, bytes | memoryview]

__all__ = ["Codec", "InvalidMessage", "best_codec"]

# Everything up to the length is the host's own writing, so nothing of a payload or context can look like it.
_HEAD = re.compile(
    rb'\{"jsonrpc":"2\.0","id":(\d{1,18}),"method":"stage/(?:invoke|(compensate))","params":\{"bytes":(\d{1,18}),'
)
_PAYLOAD = b'"payload":'
# From here on a copy of the payload costs more than a view of it.
_VIEW_BYTES = 16384


def _cut(line: bytes, start: int) -> bytes | memoryview:
    return line[start:-2] if len(line) < _VIEW_BYTES else memoryview(line)[start:-2]


class InvalidMessage(ValueError):
    """Not the JSON that the protocol asks for; the message says where."""


class PlainParameters:
    """Parameters of a call that were parsed whole, and checked here because no typed decoder did."""

    __slots__ = (
        "attempt", "config", "context", "deadline_ms", "hook", "input", "key", "run", "stage", "trace", "undoes",
    )  # fmt: skip

    stage: str
    hook: str
    config: str
    run: str
    key: str

    def __init__(self, members: Mapping[str, Any]) -> None:
        for name, default in (("stage", None), ("hook", None), ("config", None), ("run", ""), ("key", "")):
            value = members.get(name, default)
            if not isinstance(value, str):
                raise InvalidMessage(f"params.{name} must be a string")
            setattr(self, name, value)
        self.attempt: int = members.get("attempt", 1)
        self.trace: str | None = members.get("trace")
        self.undoes: str | None = members.get("undoes")
        if self.undoes is not None and not isinstance(self.undoes, str):
            raise InvalidMessage("params.undoes must be a string")
        self.deadline_ms: float | None = members.get("deadline_ms")
        if self.deadline_ms is not None and type(self.deadline_ms) not in (int, float):
            raise InvalidMessage("params.deadline_ms must be a number of milliseconds")
        self.input: object = members.get("input") or {}
        self.context: object = members.get("context") or {}
        if not isinstance(self.input, dict) or not isinstance(self.context, dict):
            raise InvalidMessage("params.input and params.context must be objects")


class Codec:
    """The standard library's JSON, strict in both directions."""

    name = "json"

    def invocation(self, line: bytes) -> Invocation | None:
        """Id, parameters and undecoded payload of a call that our host wrote; None for any other line."""
        found = _HEAD.match(line)
        if found is None:
            return None
        start = len(line) - 2 - int(found[3])
        if start < found.end() or not line.startswith(_PAYLOAD, start - len(_PAYLOAD)) or not line.endswith(b"}}"):
            return None
        parameters = self._parameters(line[:start] + b"0}}")
        if parameters is None or bool(parameters.undoes) is not bool(found[2]):
            return None
        return int(found[1]), parameters, _cut(line, start)

    def _parameters(self, head: bytes) -> Parameters | None:
        try:
            return PlainParameters(json.loads(head.decode())["params"])
        except (ValueError, RecursionError):
            return None  # the ordinary way parses the line again and says what is wrong

    def decode(self, value: Any) -> Any:
        """The value of encoded JSON; a value that is decoded already comes back as it is."""
        if not isinstance(value, (bytes, memoryview)):
            return value
        try:
            return json.loads(str(value, "utf-8"), parse_constant=_refuse_constant)
        except RecursionError:
            raise InvalidMessage("nested too deeply") from None
        except UnicodeDecodeError as error:
            raise InvalidMessage(f"not UTF-8 at byte {error.start}") from None

    def encode(self, value: object) -> bytes:
        """One line of JSON. Refuses what JSON has no word for: NaN, infinities, lone surrogates, bytes."""
        return _dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


_dumps = json.dumps


def _refuse_constant(text: str) -> None:
    raise InvalidMessage(f"{text} is not JSON")


def _demand_finite(value: object) -> None:
    """msgspec and orjson write a NaN as null without a word; find it."""
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                raise ValueError(f"Out of range float values are not JSON compliant: {item!r}")
        elif isinstance(item, dict):
            rest.extend(item.values())
        elif isinstance(item, (list, tuple, set, frozenset)):
            rest.extend(item)


def best_codec() -> Codec:
    """The fastest that the plugin's environment has. Whatever keeps msgspec or orjson from loading is no fault."""
    for make in (_with_msgspec, _with_orjson):
        try:
            return make()
        except Exception:  # noqa: BLE001  # a broken or ancient optional library must not stop the plugin
            continue
    return Codec()


def _with_msgspec() -> Codec:
    import msgspec

    raw, wrong = msgspec.Raw, msgspec.DecodeError
    # defstruct: a class statement's annotations are strings here, and would be looked up among the module's names.
    parameters = msgspec.defstruct(
        "Parameters",
        [
            ("stage", str),
            ("hook", str),
            ("config", str),
            ("run", str, ""),
            ("attempt", int, 1),
            ("key", str, ""),
            ("undoes", str | None, None),
            ("deadline_ms", float | None, None),
            ("trace", str | None, None),
            ("input", raw, raw(b"{}")),
            ("context", raw, raw(b"{}")),
        ],
        gc=False,
    )
    frame_type = msgspec.defstruct("Frame", [("id", int), ("params", parameters)], gc=False)
    decode_head = msgspec.json.Decoder(frame_type).decode
    decode_value = msgspec.json.Decoder().decode
    encode_value = msgspec.json.Encoder().encode
    plain = Codec()
    head, payload, width = _HEAD.match, _PAYLOAD, len(_PAYLOAD)

    class MsgspecCodec(Codec):
        name = "msgspec"

        def invocation(self, line: bytes) -> Invocation | None:
            # The same cut as above, written out: this is the path every call takes.
            found = head(line)
            if found is None:
                return None
            start = len(line) - 2 - int(found[3])
            if start < found.end() or not line.startswith(payload, start - width) or not line.endswith(b"}}"):
                return None
            try:
                frame: Any = decode_head(line[:start] + b"0}}")
            except (wrong, UnicodeDecodeError, RecursionError):
                return None
            undoes = frame.params.undoes
            if not undoes if found[2] else undoes is not None:
                return None
            return frame.id, frame.params, line[start:-2] if len(line) < _VIEW_BYTES else _cut(line, start)

        def decode(self, value: Any) -> Any:
            if isinstance(value, (bytes, raw, memoryview)):
                try:
                    return decode_value(value)
                except (wrong, UnicodeDecodeError, RecursionError):
                    return plain.decode(bytes(value))  # says what is wrong, or takes what only it can
            return value

        def encode(self, value: object) -> bytes:
            encoded = encode_value(value)
            if b"null" in encoded:
                _demand_finite(value)
            return encoded

    return MsgspecCodec()


def _with_orjson() -> Codec:
    import orjson  # type: ignore[import-not-found, unused-ignore]  # it is the plugin's, not the host's

    loads, dumps, flags = orjson.loads, orjson.dumps, orjson.OPT_NON_STR_KEYS
    plain = Codec()

    class OrjsonCodec(Codec):
        name = "orjson"

        def decode(self, value: Any) -> Any:
            if isinstance(value, (bytes, memoryview)):
                try:
                    return loads(value)
                except ValueError:
                    return plain.decode(value)
            return value

        def encode(self, value: object) -> bytes:
            try:
                encoded: bytes = dumps(value, option=flags)
            except TypeError:
                return plain.encode(value)
            if b"null" in encoded:
                _demand_finite(value)
            return encoded

    return OrjsonCodec()
