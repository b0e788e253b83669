"""The loop of a plugin whose stages are all plain functions: read a line, answer it, then the next.

No event loop: it would double what a call costs. Each answer is written before the next call is taken up, so a
crash leaves the outcome of one call unknown and no more.
"""

from __future__ import annotations

import os
import sys
from time import monotonic

from ..answer import Violation
from . import logs
from .faults import TOO_LARGE, Fault
from .frames import FrameTooLarge
from .incoming import CALLS, plain_parameters, request_of, wanted_configs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..call import Parameters
    from .incoming import Request
    from .session import Session

__all__ = ["CHUNK_BYTES", "serve"]

# What a pipe holds: one read never finds more.
CHUNK_BYTES = 65536


def serve(session: Session) -> None:
    """Answer the host until it says goodbye or closes the pipe. A plugin with `async def` moves to `concurrent`."""
    read, reader = os.read, session.reader
    call_in, write = session.out.codec.invocation, session.out.write
    while data := read(reader, CHUNK_BYTES):
        arrived = monotonic()
        lines = lines_of(session, data)
        for position, line in enumerate(lines):
            found = call_in(line)
            if found is not None:
                write(_invoke(session, *found, arrived))
                continue
            _take_up(session, line, arrived)
            if session.ended:
                return
            if session.on_loop:
                from .concurrent import serve as serve_concurrently

                serve_concurrently(session, lines[position + 1 :], arrived)
                return
        logs.CURRENT.set(None)  # an idle worker must not hold on to its last payload


def lines_of(session: Session, data: bytes) -> list[bytes]:
    """The lines that `data` completes; ends this process when the host itself breaks the limit."""
    try:
        return session.lines.feed(data)
    except FrameTooLarge:
        session.out.write(session.out.error_line(None, Fault(TOO_LARGE, "the host's line is over the limit")))
        sys.exit(1)


def _invoke(session: Session, call_id: int, parameters: Parameters, raw: object, arrived: float) -> bytes:
    try:
        call = session.call_of(call_id, parameters, raw, arrived)
        logs.CURRENT.set(call)
        answer = session.plugin.stages[parameters.stage].function(call)
    except Violation as violation:
        return session.out.answer_line(call, violation)
    except BaseException as error:  # noqa: BLE001  # the author's code: sys.exit and Ctrl-C are its errors too
        return session.out.failure_line(call_id, error)
    return session.out.answer_line(call, answer)


def _take_up(session: Session, line: bytes, arrived: float) -> None:
    """Answer anything but a call that our host wrote."""
    logs.CURRENT.set(None)
    call_id = None
    try:
        request = request_of(session.out.codec, line)
        if request is None or request.id is None:
            return  # in order as we work, whatever a cancellation names is answered already
        call_id = request.id
        answer = _answer(session, request, arrived)
    except BaseException as error:  # noqa: BLE001  # runs the author's import, startup and configure
        answer = session.out.failure_line(call_id, error)
    session.out.write(answer)


def _answer(session: Session, request: Request, arrived: float) -> bytes:
    assert request.id is not None
    if request.method in CALLS:
        parameters, payload = plain_parameters(request)
        return _invoke(session, request.id, parameters, payload, arrived)
    if request.method == "configure":
        wanted = wanted_configs(request.params)
        session.startup()
        made = {}
        for name, config in wanted.items():
            made[name] = session.known_config(name) or (session.configured(config), config.secrets)
        session.settle(made)
        return session.out.result_line(request.id, {})
    return session.out.result_line(request.id, session.control(request))
