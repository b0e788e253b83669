"""Outlines as hypothesis draws them: few names and few values, so that two of them meet often."""

from __future__ import annotations

from hypothesis import strategies as st

from isolation.manifest.values import Reload
from orchestrator.reload.outline import Outline, PipelineOutline, PluginOutline, SplitOutline
from pipelines.declaration import Asks

__all__ = ["outlines", "plugin_outlines"]

NAMES = ("pii", "words", "scan")
DIGESTS = ("d1", "d2")

_texts = st.sampled_from(("", "a", "b"))
_facets = st.dictionaries(st.sampled_from(("mode", "timeout", "with", "needs")), _texts, max_size=3)
_asks = st.builds(
    Asks,
    network=st.sampled_from(((), ("a:1",), ("a:1", "b:2"))),
    subprocess=st.booleans(),
    secrets=st.sampled_from(((), ("token",))),
)


_splits = st.builds(
    lambda plugin, percent: SplitOutline((plugin,), percent, f"{percent} %"),
    st.sampled_from(NAMES),
    st.sampled_from((1.0, 5.0)),
)


def plugin_outlines(name: str) -> st.SearchStrategy[PluginOutline]:
    return st.builds(
        PluginOutline,
        name=st.just(name),
        plugin=st.just(f"example-{name}"),
        source=st.just(f"./{name}"),
        digest=st.sampled_from(DIGESTS),
        fingerprint=st.sampled_from((None, "f1", "f2")),
        environment_ready=st.booleans(),
        version=st.sampled_from(("1.0", "1.1", "2.0rc1")),
        locked=st.dictionaries(st.sampled_from(("alpha", "beta")), st.sampled_from(("1.0", "2.0")), max_size=2),
        asks=_asks,
        grant=_asks,
        reload=st.sampled_from(Reload),
        replicas=st.integers(1, 2),
        concurrency=st.sampled_from((None, 8)),
        queue=st.integers(0, 1),
        restart=_texts,
        process=_texts,
        configs=st.frozensets(st.sampled_from(("c1", "c2")), max_size=2),
        secrets=_texts,
    )


def _stages() -> st.SearchStrategy[dict[str, dict[str, str]]]:
    stage = st.builds(lambda facets, plugin: {**facets, "plugin": plugin}, _facets, st.sampled_from(NAMES))
    return st.dictionaries(st.sampled_from(("mask", "check", "finally/log")), stage, max_size=2)


def _route(hook: str) -> st.SearchStrategy[tuple[PipelineOutline, ...]]:
    one = st.builds(PipelineOutline, st.sampled_from(("guard", "tail")), st.just(hook), _facets, _stages())
    return st.lists(one, max_size=2, unique_by=lambda pipeline: pipeline.name).map(tuple)


def outlines() -> st.SearchStrategy[Outline]:
    return st.builds(
        Outline,
        name=_texts,
        plugins=st.fixed_dictionaries({}, optional={name: plugin_outlines(name) for name in NAMES}),
        routes=st.fixed_dictionaries({}, optional={hook: _route(hook) for hook in ("before", "after")}),
        unmatched=st.dictionaries(st.sampled_from(("before", "after")), st.sampled_from(("allow", "deny"))),
        hooks=st.dictionaries(st.just("own"), _texts),
        splits=st.dictionaries(st.just("before"), _splits),
        secrets=st.dictionaries(st.sampled_from(("token", "pii.token")), _texts, max_size=1),
        warnings=st.sampled_from(((), ("a warning",))),
    )
