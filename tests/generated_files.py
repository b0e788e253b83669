"""Good pipeline files, made up by hypothesis: any graph, modes, conditions, inputs and overrides that are right.

`files(plugin)` gives the content of a file as plain values; written as JSON it is YAML. The plugin must offer one
stage that works on any hook, declares no writes, takes no `with` and puts out an int. What else it offers decides what
else is made up: without a pair of a stage and its undo there is no compensation, without a last one no `finally`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = ["Offer", "files"]

HOOKS = ["tool_pre_invoke", "prompt_pre_fetch", "tool_post_invoke", "server_pre_register"]
TIMEOUTS = {"fast": "500ms", "slow": "2s"}
RETRIES = {
    "again": {"attempts": 3, "backoff": {"initial": "1ms", "max": "5ms", "jitter": "none"}, "on": ["Busy"]},
    "safe": {"attempts": 2, "on": ["Busy", "Retryable"]},
}
ANY_RETRY = {"attempts": 2, "on": ["WorkerLost", "DeadlineExceeded", "PluginError"]}
"""For a stage that is idempotent, for an undo, and for the defaults, which are narrowed."""
BREAKERS = {"steady": {"window": 20, "minimum_calls": 10}, "touchy": {"failure_rate": 1, "open_for": "1s"}}
RESTARTS = {"calm": {"intensity": 3, "period": "5s", "backoff": {"initial": "10ms", "factor": 3}}}
OWN_RETRIES = [*RETRIES, "none", {"attempts": 2, "on": ["Retryable"]}]
SPLIT = {"canary": 2.5, "key": "context.tenant", "abort": {"errors": 3, "latency": 1.5, "minimum_calls": 10}}
OWN_BREAKERS = [*BREAKERS, "none", {"window": 5}]
CONDITIONS = ["context.tenant == 'acme'", "has(context.user.email)", "1 + 1 == 2", "context.tenant.matches('^a+$')"]


@dataclass(frozen=True)
class Offer:
    """A plugin to use: where it is, its stage, and that stage's int output.

    `does` has effects outside, is idempotent and puts out the text `ticket`, and `undo` undoes it; `last` may stand in
    `finally`. `durable` says whether runs may be.
    """

    source: str
    stage: str
    out: str
    does: str | None = None
    undo: str | None = None
    last: str | None = None
    durable: bool = False


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
                "retry": st.sampled_from(OWN_RETRIES),
                "breaker": st.sampled_from(OWN_BREAKERS),
                "split": st.just(SPLIT),
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
def _effect(draw: st.DrawFn, offer: Offer, name: str, earlier: Mapping[str, bool]) -> dict[str, object]:
    """A stage with effects outside, undone or openly not."""
    stage: dict[str, object] = {"uses": f"p/{offer.does}"}
    if earlier:
        stage["needs"] = [draw(st.sampled_from(sorted(earlier)))]
    stage |= draw(st.fixed_dictionaries({}, optional={"retry": st.sampled_from([*OWN_RETRIES, ANY_RETRY])}))
    undo = st.fixed_dictionaries(
        {"uses": st.just(f"p/{offer.undo}"), "in": st.just({"ticket": f"${{stages.{name}.out.ticket}}"})},
        optional={
            "retry": st.sampled_from([*OWN_RETRIES, ANY_RETRY]),
            "timeout": st.sampled_from([*TIMEOUTS, "750ms"]),
        },
    )
    return stage | {"compensate": draw(st.one_of(st.just("none"), undo))}


@st.composite
def _final(draw: st.DrawFn, offer: Offer, stages: list[str]) -> dict[str, object]:
    """A stage after the answer, which may ask for whatever the run has, there or not."""
    state = f"${{stages.{draw(st.sampled_from(stages))}.state}}"
    final: dict[str, object] = {"uses": f"p/{offer.last}", "in": {"verdict": "${run.verdict}", "state": state}}
    extra = st.fixed_dictionaries(
        {},
        optional={
            "when": st.sampled_from(["run.verdict != 'allow'", "run.reason == ''", "context.tenant == 'acme'"]),
            "mode": st.sampled_from(["audit", "permissive", "disabled"]),
            "retry": st.sampled_from(OWN_RETRIES),
            "breaker": st.sampled_from(OWN_BREAKERS),
            "timeout": st.sampled_from([*TIMEOUTS, "750ms"]),
        },
    )
    return final | draw(extra)


@st.composite
def _lasting(draw: st.DrawFn, offer: Offer, undone: bool) -> dict[str, object]:
    """What a pipeline says about its runs beyond their answer."""
    durable = draw(st.sampled_from([True, False] if offer.durable else [False]))
    said: dict[str, object] = {"durable": durable} if undone or draw(st.booleans()) else {}
    if said.get("durable"):
        said |= draw(st.fixed_dictionaries({}, optional={"recover": st.sampled_from(["undo", "resume"])}))
    if undone and draw(st.booleans()):
        said |= {"undo_deadline": "10s"}
    return said


@st.composite
def _pipeline(draw: st.DrawFn, offer: Offer) -> dict[str, object]:
    stages: dict[str, dict[str, object]] = {}
    sure: dict[str, bool] = {}
    for i in range(draw(st.integers(1, 6))):
        stages[f"s{i}"], sure[f"s{i}"] = draw(_stage(offer, sure))
    effects = range(draw(st.integers(0, 2)) if offer.does else 0)
    stages |= {f"e{i}": draw(_effect(offer, f"e{i}", sure)) for i in effects}
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
    if offer.last and draw(st.booleans()):
        pipeline["finally"] = {"f0": draw(_final(offer, sorted(stages)))}
    undone = any(stages[f"e{i}"]["compensate"] != "none" for i in effects)
    return pipeline | draw(extra) | draw(_lasting(offer, undone))


@st.composite
def files(draw: st.DrawFn, offer: Offer) -> dict[str, object]:
    """The content of a good file."""
    plugin = st.fixed_dictionaries(
        {"source": st.just(offer.source)},
        optional={
            "concurrency": st.integers(1, 8),
            "queue": st.sampled_from([64, 1024]),
            "restart": st.sampled_from([*RESTARTS, {"intensity": 5}]),
        },
    )
    file: dict[str, object] = {"version": 1, "name": "made_up", "plugins": {"p": draw(plugin)}}
    file["policies"] = {"timeouts": TIMEOUTS, "retries": RETRIES, "breakers": BREAKERS, "restarts": RESTARTS}
    if draw(st.booleans()):
        file["defaults"] = {"stage": {"retry": draw(st.sampled_from([*OWN_RETRIES, ANY_RETRY])), "breaker": "steady"}}
    file["pipelines"] = {f"p{i}": draw(_pipeline(offer)) for i in range(draw(st.integers(1, 3)))}
    if draw(st.booleans()):
        file["profiles"] = {"dev": {"policies": {"timeouts": {"fast": "1s"}, "retries": {"again": {"attempts": 5}}}}}
    return file
