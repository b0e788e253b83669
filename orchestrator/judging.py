"""Judges what a stage answered to a sample payload, for `penstock plugin check`: as a run would, and its `out` as well.

A run takes an `out` as it comes, and an expression that reads it fails when it is of the wrong kind. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from isolation.manifest.values import Manifest
from pipelines.answer import BadAnswer, payload_after, read_answer
from pipelines.body import Body
from pipelines.fields import Kind
from pipelines.hooks import CATALOGUE
from pipelines.merge import diff, first_outside

__all__ = ["complaint"]


def complaint(manifest: Manifest, stage: str, hook: str, payload: Mapping[str, object], result: bytes) -> str | None:
    """Why `result` is not the answer that the manifest promises; None when it is."""
    known = CATALOGUE.get(hook)
    before = Body.of(dict(payload))
    try:
        answer = read_answer(result, known.answer if known is not None else ())
        after = payload_after(answer, before) if answer.changes_payload() else before
    except BadAnswer as error:
        return str(error)
    wrong = _misfit_out(answer.out or {}, manifest.stages[stage].outputs)
    return wrong or _misfit_writes(manifest, stage, hook, before, after)


def _misfit_out(out: Mapping[str, object], outputs: Mapping[str, str]) -> str | None:
    kinds = {kind.value: kind for kind in Kind}
    for name, value in out.items():
        if name not in outputs:
            return f"put out {name!r}; the manifest's `outputs` are {', '.join(outputs) or 'none'}"
        if outputs[name] in kinds and not kinds[outputs[name]].holds(value):
            return f"put out {name!r} as something else than {outputs[name]}, which the manifest says"
    return None


def _misfit_writes(manifest: Manifest, stage: str, hook: str, before: Body, after: Body) -> str | None:
    writes = diff(before.tree, after.tree)
    hooks = manifest.stages[stage].hooks
    allowed = hooks[hook].writes if hooks is not None and hook in hooks else None
    if not writes or allowed is None:
        return None
    outside = first_outside(writes, [tuple(path.split(".")[1:]) for path in allowed], before.tree)
    if outside is None:
        return None
    return f"changed payload.{'.'.join(outside)}; the manifest's `writes` allow {', '.join(allowed) or 'nothing'}"
