"""The loop of a plugin with `async def`: many calls at once on asyncio, plain functions one at a time in a thread.

Every call is a task that this module owns and answers for, exactly once, cancelled or not.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic

from ..answer import Violation
from . import logs
from .blocking import CHUNK_BYTES, lines_of
from .faults import CANCELLED, INVALID_REQUEST, PLUGIN, Fault
from .incoming import CALLS, plain_parameters, request_of, wanted_configs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from typing import Any

    from ..call import Call, Parameters
    from .incoming import Request
    from .session import Session

__all__ = ["serve"]

# How long calls get to take note of their cancellation before the process ends.
FAREWELL_SECONDS = 0.5


def serve(session: Session, waiting: Iterable[bytes], arrived: float) -> None:
    """Answer the host until it says goodbye or closes the pipe. `waiting` are lines that came in already."""
    asyncio.run(_Loop(session).run(waiting, arrived))


class _Loop:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._tasks: dict[int, asyncio.Task[bytes]] = {}
        self._cancelled: set[int] = set()
        self._goodbye: int | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._over = asyncio.Event()

    async def run(self, waiting: Iterable[bytes], arrived: float) -> None:
        """Read until the end, then give the calls that are left a moment."""
        loop = asyncio.get_running_loop()
        os.set_blocking(self._session.reader, False)
        loop.add_reader(self._session.reader, self._readable)
        for line in waiting:
            self._take_up(line, arrived)
        await self._over.wait()
        loop.remove_reader(self._session.reader)
        self._cancelled.update(self._tasks)
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=FAREWELL_SECONDS)
            await asyncio.sleep(0)  # the callbacks that answer them run here
        if self._goodbye is not None:
            self._write(self._session.out.result_line(self._goodbye, {}))
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _readable(self) -> None:
        try:
            data = os.read(self._session.reader, CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._over.set()
            return
        arrived = monotonic()
        for line in lines_of(self._session, data):
            self._take_up(line, arrived)

    def _take_up(self, line: bytes, arrived: float) -> None:
        call_id = None
        try:
            found = self._session.out.codec.invocation(line)
            if found is not None:
                call_id = found[0]
                self._begin(call_id, self._invoke(*found, arrived))
            elif (request := request_of(self._session.out.codec, line)) is not None:
                call_id = request.id
                self._serve(request, arrived)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one line is that line's answer
            self._write(self._session.out.error_line(call_id, error))

    def _serve(self, request: Request, arrived: float) -> None:
        if request.id is None:
            if request.method == "$/cancelRequest" and isinstance(request.params, dict):
                self._cancel(request.params.get("id"))
        elif request.method in CALLS:
            parameters, payload = plain_parameters(request)
            self._begin(request.id, self._invoke(request.id, parameters, payload, arrived))
        elif request.method == "configure":
            self._begin(request.id, self._configure(request.id, request.params))
        elif request.method == "shutdown":
            self._goodbye = request.id
            self._over.set()
        elif request.method == "initialize":
            raise Fault(INVALID_REQUEST, "initialize comes once")
        else:
            self._write(self._session.out.result_line(request.id, self._session.control(request)))

    def _begin(self, call_id: int, answer: Coroutine[Any, Any, bytes]) -> None:
        if call_id in self._tasks:
            answer.close()
            raise Fault(INVALID_REQUEST, f"id {call_id} is in use")
        task = asyncio.get_running_loop().create_task(answer)
        self._tasks[call_id] = task
        task.add_done_callback(partial(self._finish, call_id))

    def _finish(self, call_id: int, task: asyncio.Task[bytes]) -> None:
        """Answer for a task that has ended, here because one that is cancelled before its first step never runs."""
        del self._tasks[call_id]
        asked = call_id in self._cancelled
        self._cancelled.discard(call_id)
        if not task.cancelled():
            self._write(task.result())
        elif asked:
            self._write(self._session.out.error_line(call_id, Fault(CANCELLED, "cancelled by the host")))
        else:
            self._write(self._session.out.error_line(call_id, Fault(PLUGIN, "the stage cancelled its own call")))

    def _cancel(self, call_id: object) -> None:
        if type(call_id) is int and call_id in self._tasks:
            self._cancelled.add(call_id)
            self._tasks[call_id].cancel()

    async def _invoke(self, call_id: int, parameters: Parameters, raw: object, arrived: float) -> bytes:
        session = self._session
        try:
            call = session.call_of(call_id, parameters, raw, arrived)
            logs.CURRENT.set(call)
            stage = session.plugin.stages[parameters.stage]
            answer = await stage.function(call) if stage.is_async else await self._in_thread(stage.function, call)
        except asyncio.CancelledError:
            raise
        except Violation as violation:
            return session.out.answer_line(call, violation)
        except BaseException as error:  # noqa: BLE001  # the author's code: sys.exit and Ctrl-C are its errors too
            return session.out.failure_line(call_id, error)
        return session.out.answer_line(call, answer)

    async def _in_thread(self, function: Any, call: Call) -> object:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="penstock-stage")
        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self._thread, run, _without_stop, function, call)

    async def _configure(self, call_id: int, params: object) -> bytes:
        session = self._session
        try:
            wanted = wanted_configs(params)
            await _settled(session.startup())
            made = {}
            for name, config in wanted.items():
                made[name] = session.known_config(name) or (await _settled(session.configured(config)), config.secrets)
            session.settle(made)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # the author's startup and configure
            return session.out.failure_line(call_id, error)
        return session.out.result_line(call_id, {})

    def _write(self, line: bytes) -> None:
        try:
            self._session.out.write(line)
        except BrokenPipeError:
            self._over.set()


async def _settled(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) else value


def _without_stop(function: Any, call: Call) -> object:
    """Call a plain stage in the thread. A future cannot carry StopIteration, which would leave the call unanswered."""
    try:
        return function(call)
    except StopIteration as error:
        raise RuntimeError("the stage raised StopIteration") from error
