"""Judges what a stage answered to a sample payload as a run would, for `penstock plugin check`. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping

from isolation.manifest.values import Manifest
from pipelines.answer import BadAnswer, payload_after, read_answer
from pipelines.body import Body
from pipelines.hooks import CATALOGUE
from pipelines.merge import diff, first_outside

__all__ = ["complaint"]


def complaint(manifest: Manifest, stage: str, hook: str, payload: Mapping[str, object], result: bytes) -> str | None:
    """Why a run would refuse `result`; None when it would not."""
    known = CATALOGUE.get(hook)
    before = Body.of(dict(payload))
    try:
        answer = read_answer(result, known.answer if known is not None else ())
        after = payload_after(answer, before) if answer.changes_payload() else before
    except BadAnswer as error:
        return str(error)
    writes = diff(before.tree, after.tree)
    hooks = manifest.stages[stage].hooks
    allowed = hooks[hook].writes if hooks is not None and hook in hooks else None
    if not writes or allowed is None:
        return None
    outside = first_outside(writes, [tuple(path.split(".")[1:]) for path in allowed], before.tree)
    if outside is None:
        return None
    return f"changed payload.{'.'.join(outside)}; the manifest's `writes` allow {', '.join(allowed) or 'nothing'}"
