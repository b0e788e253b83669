"""Good pipeline files, made up by hypothesis: any graph, modes, conditions, inputs and overrides that are right.

`files(plugin)` gives the content of a file as plain values; written as JSON it is YAML. The plugin must offer one
stage that works on any hook, declares no writes, takes no `with` and puts out an int.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = ["Offer", "files"]

HOOKS = ["tool_pre_invoke", "prompt_pre_fetch", "tool_post_invoke", "server_pre_register"]
TIMEOUTS = {"fast": "500ms", "slow": "2s"}
CONDITIONS = ["context.tenant == 'acme'", "has(context.user.email)", "1 + 1 == 2", "context.tenant.matches('^a+$')"]


@dataclass(frozen=True)
class Offer:
    """A plugin to use: where it is, its stage, and that stage's int output."""

    source: str
    stage: str
    out: str


@st.composite
def _stage(draw: st.DrawFn, offer: Offer, earlier: Mapping[str, bool]) -> tuple[dict[str, object], bool]:
    """One stage over `earlier` ones, and whether it surely has an `out`."""
    stage: dict[str, object] = {"uses": f"p/{offer.stage}"}
    needed = draw(st.lists(st.sampled_from(sorted(earlier)), unique=True, max_size=3)) if earlier else []
    is_plain = True
    if needed:
        explicit = draw(st.booleans())
        is_plain = not explicit
        stage["needs"] = [{"stage": name, "is": ["succeeded", "skipped"]} for name in needed] if explicit else needed
    stage |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "timeout": st.sampled_from([*TIMEOUTS, "750ms", "1s"]),
                "mode": st.sampled_from(["enforce", "permissive", "audit", "disabled"]),
                "on_error": st.sampled_from(["fail", "continue"]),
                "when": st.sampled_from(CONDITIONS),
                "otherwise": st.just({offer.out: 0}),
                "overrides": st.lists(_override(), min_size=1, max_size=2),
            },
        )
    )
    sure = [name for name in needed if earlier[name]]
    if sure:
        out = f"stages.{draw(st.sampled_from(sure))}.out.{offer.out}"
        stage["in"] = {"n": "${" + out + " + 1}", "constant": [1, "x"]}
    enforces = stage.get("mode", "enforce") == "enforce"
    always = is_plain and enforces and not stage.keys() & {"when", "overrides", "on_error"}
    return stage, always or "otherwise" in stage


def _override() -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries(
        {"when": st.sampled_from(CONDITIONS)},
        optional={"mode": st.sampled_from(["enforce", "audit"]), "timeout": st.sampled_from(["fast", "1s"])},
    )


@st.composite
def _pipeline(draw: st.DrawFn, offer: Offer) -> dict[str, object]:
    stages: dict[str, object] = {}
    sure: dict[str, bool] = {}
    for i in range(draw(st.integers(1, 6))):
        stages[f"s{i}"], sure[f"s{i}"] = draw(_stage(offer, sure))
    hooks = draw(st.lists(st.sampled_from(HOOKS), min_size=1, max_size=3, unique=True))
    pipeline: dict[str, object] = {"hook": hooks if len(hooks) > 1 else hooks[0], "stages": stages}
    extra = st.fixed_dictionaries(
        {},
        optional={
            "match": st.sampled_from(CONDITIONS),
            "deadline": st.sampled_from(["2s", "5s"]),
            "fallback": st.just({"on": ["WorkerLost", "DeadlineExceeded"], "reason": "not now"}),
        },
    )
    return pipeline | draw(extra)


@st.composite
def files(draw: st.DrawFn, offer: Offer) -> dict[str, object]:
    """The content of a good file."""
    file: dict[str, object] = {"version": 1, "name": "made_up", "plugins": {"p": {"source": offer.source}}}
    file["policies"] = {"timeouts": TIMEOUTS}
    file["pipelines"] = {f"p{i}": draw(_pipeline(offer)) for i in range(draw(st.integers(1, 3)))}
    if draw(st.booleans()):
        file["profiles"] = {"dev": {"policies": {"timeouts": {"fast": "1s"}}}}
    return file
