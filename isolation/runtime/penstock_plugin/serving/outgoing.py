"""What goes to the host: answers, errors, notifications, each one line within the limit.

Never raises for what an author's answer or exception is; a broken pipe is the only thing that can go wrong.
"""

from __future__ import annotations

from ..answer import Answer, Violation
from . import logs
from .codec import Codec
from .faults import PLUGIN, TOO_LARGE, Fault, as_error, is_expected, place_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..call import Call
    from .frames import Sink

__all__ = ["Outgoing"]

# Room for the envelope of an answer around its result.
ENVELOPE_BYTES = 64
# Failures at more places than this are not written to the log any more, only answered.
MOST_PLACES = 100


class Outgoing:
    """Writes messages to one sink."""

    def __init__(self, sink: Sink, max_frame: int) -> None:
        self.write = sink.write
        self.codec = Codec()
        self.max_frame = max_frame
        self._places: set[tuple[str, str, int]] = set()

    def notify(self, method: str, members: Mapping[str, object]) -> None:
        """Send one notification; one that would be over the limit is not sent."""
        line = self.codec.encode({"jsonrpc": "2.0", "method": method, "params": members}) + b"\n"
        if len(line) <= self.max_frame:
            self.write(line)

    def result_line(self, call_id: int, result: object) -> bytes:
        """The answer to a request, or the error that it cannot be one."""
        try:
            encoded = self.codec.encode(result)
        except BaseException as error:  # noqa: BLE001  # walks the author's objects, so their code may run here
            return self.error_line(
                call_id, Fault(PLUGIN, f"its answer cannot be written as JSON: {as_error(error)['message']}")
            )
        if len(encoded) > self.max_frame - ENVELOPE_BYTES:
            fault = Fault(TOO_LARGE, f"its answer has {len(encoded)} bytes; a frame may have {self.max_frame}")
            return self.error_line(call_id, fault)
        if b"\n" in encoded:  # only pre-encoded JSON of the author's can hold one, and it would cut the frame
            return self.error_line(call_id, Fault(PLUGIN, "its answer holds encoded JSON with a newline in it"))
        return b'{"jsonrpc":"2.0","id":%d,"result":%b}\n' % (call_id, encoded)

    def error_line(self, call_id: int | None, error: BaseException) -> bytes:
        """The error answer of whatever went wrong."""
        try:
            return self.codec.encode({"jsonrpc": "2.0", "id": call_id, "error": as_error(error)}) + b"\n"
        except MemoryError:
            number = b"null" if call_id is None else b"%d" % call_id
            return b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32804,"message":"MemoryError"}}\n' % number

    def answer_line(self, call: Call, answer: object) -> bytes:
        """The answer of a stage as a line."""
        if answer is None:
            return b'{"jsonrpc":"2.0","id":%d,"result":{}}\n' % call.id
        try:
            members = _members_of(call.stage, answer)
            if call.undoes is not None:
                _demand_nothing_but_out(call.stage, members)
        except BaseException as error:  # noqa: BLE001  # subclasses of the author's may run code here
            return self.error_line(call.id, error)
        return self.result_line(call.id, members)

    def failure_line(self, call_id: int | None, error: BaseException) -> bytes:
        """The error answer of what the author's code raised; the log gets the traceback, once for each place."""
        if not is_expected(error):
            try:  # noqa: SIM105  # `import contextlib` costs every worker 3 ms of its start
                self._tell(error)
            except (OSError, ValueError, MemoryError):
                pass  # the answer matters more than the log
        return self.error_line(call_id, error)

    def _tell(self, error: BaseException) -> None:
        place = place_of(error)
        if place in self._places or len(self._places) >= MOST_PLACES:
            return
        self._places.add(place)
        described = as_error(error)
        members = {"level": "error", "message": described["message"], "logger": "penstock"}
        members["traceback"] = described["data"]["traceback"]
        self.notify("log", members | logs.origin())


def _demand_nothing_but_out(stage: str, members: Mapping[str, object]) -> None:
    """The run that an undo belongs to has ended; nobody could take a payload or a violation of it."""
    if strange := [name for name in members if name != "out"]:
        given = ", ".join(strange)
        raise Fault(PLUGIN, f"stage {stage!r} is an undo and gave {given}; return None or call.allow(out=...)")


def _members_of(stage: str, answer: object) -> dict[str, object]:
    if isinstance(answer, Answer):
        return answer.as_json()
    if isinstance(answer, Violation):
        return {"violation": answer.as_json()}
    kind = type(answer).__name__
    if kind in ("coroutine", "generator", "async_generator"):
        if kind != "async_generator":
            answer.close()  # type: ignore[attr-defined]  # else Python warns that it was never awaited
        raise Fault(PLUGIN, f"stage {stage!r} returned a {kind}; write `async def`, and no `yield`")
    raise Fault(PLUGIN, f"stage {stage!r} returned {kind}; return None, or what call.allow, .modify, .deny give")
