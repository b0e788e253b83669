"""Parameters of commands that come as text, in a path or a query, made what the command takes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from orchestrator.http.failures import Failure

__all__ = ["params_of"]


def params_of(texts: Mapping[str, str], kind: type[msgspec.Struct]) -> Mapping[str, object]:
    """The parameters of a command: numbers are read as such. Raises Failure."""
    try:
        read = msgspec.convert(dict(texts), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Failure("penstock.bad_request", f"the parameters do not fit: {error}") from None
    whole = msgspec.structs.asdict(read)
    return {name: whole[name] for name in texts}
