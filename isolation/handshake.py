"""What a plugin says of itself in its answer to `initialize`, held against its manifest. No process is touched here."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from isolation.errors import StartError
from isolation.protocol.messages import PROTOCOL_VERSION
from isolation.spec import WorkerSpec

__all__ = ["SEQUENTIAL_WINDOW", "Window", "agree"]

SEQUENTIAL_WINDOW = 4
"""Calls that wait in the pipe of a worker that takes them one by one; more gain nothing and make a crash costlier."""


@dataclass(frozen=True, slots=True)
class Window:
    """How many calls a worker takes at once. A sequential one reads a call only when it has answered the one before."""

    calls: int
    sequential: bool


class _Identity(msgspec.Struct):
    name: str
    version: str


class _Stage(msgspec.Struct, rename={"is_async": "async"}):
    is_async: bool = False
    undoes: str | None = None


class _Answer(msgspec.Struct):
    protocol: str
    plugin: _Identity
    stages: dict[str, _Stage]
    concurrency: int = 1


_decode = msgspec.json.Decoder(_Answer).decode


def agree(answer: bytes, spec: WorkerSpec) -> Window:
    """Compare the handshake with the manifest; raises StartError, and a mismatch names both sides."""
    try:
        said = _decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StartError(f"answered `initialize` wrongly: {error}") from error
    if said.protocol != PROTOCOL_VERSION:
        raise StartError(f"speaks protocol {said.protocol!r}; this host speaks {PROTOCOL_VERSION!r}")
    if (said.plugin.name, said.plugin.version) != (spec.plugin_name, spec.version):
        raise StartError(
            f"is {said.plugin.name} {said.plugin.version}; its manifest says {spec.plugin_name} {spec.version}"
        )
    if said.concurrency < 1:
        raise StartError(f"answered `initialize` wrongly: concurrency is {said.concurrency}, not at least 1")
    missing = [name for name in spec.stages if name not in said.stages]
    if missing:
        offered = ", ".join(sorted(said.stages)) or "none"
        raise StartError(f"does not offer the stages {', '.join(missing)} of its manifest; it offers {offered}")
    for name in spec.stages:
        _agree_on_undo(name, said.stages[name].undoes, spec.undoes.get(name))
    return _window(said.concurrency, spec)


def _agree_on_undo(stage: str, said: str | None, declared: str | None) -> None:
    """A stage that only one side takes for an undo would be called for what it does not do."""
    if said != declared:
        raise StartError(
            f"says that its stage {stage} undoes {said or 'nothing'}; its manifest says that it undoes "
            f"{declared or 'nothing'}"
        )


def _window(concurrency: int, spec: WorkerSpec) -> Window:
    if spec.entry is None:
        calls = spec.window or 1
        return Window(calls, sequential=calls == 1)
    if concurrency == 1:
        return Window(SEQUENTIAL_WINDOW, sequential=True)
    return Window(min(concurrency, spec.window or concurrency), sequential=False)
