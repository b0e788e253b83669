"""`call.input` of a stage: what `in` maps, worked out and encoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pipelines.expressions import Expression, ExpressionFailed

__all__ = ["encoded", "inputs_of", "inputs_or_null"]

Evaluate = Callable[[Expression], object]
Mapped = tuple[tuple[str, object], ...]


def inputs_of(mapped: Mapped, evaluate: Evaluate) -> Mapping[str, object]:
    """The values of `mapped`. Raises ExpressionFailed."""
    return {name: evaluate(value) if isinstance(value, Expression) else value for name, value in mapped}


def inputs_or_null(mapped: Mapped, evaluate: Evaluate) -> Mapping[str, object]:
    """The same after the verdict, when a stage may have left nothing to look at: what cannot be worked out is null."""
    values: dict[str, object] = {}
    for name, value in mapped:
        try:
            values[name] = evaluate(value) if isinstance(value, Expression) else value
        except ExpressionFailed:
            values[name] = None
    return values


def encoded(values: Mapping[str, object]) -> bytes:
    """As JSON; raises ExpressionFailed for what JSON has no word for."""
    if not values:
        return b"{}"
    try:
        return json.dumps(values, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ExpressionFailed(f"`in` gives no JSON: {error}") from error
