"""docs/metrics.md, made from the catalogue of metrics."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.metrics.catalogue import GROUPS, Metric
from orchestrator.metrics.distribution import DURATION_BOUNDS, LAG_BOUNDS
from orchestrator.metrics.tallies import CODES_PER_STAGE, LEFT_BEHIND

_HEAD = """\
# Metrics

<!-- Made by `python docs/generate.py` from orchestrator/metrics/catalogue.py. -->

A daemon shows them at `/metrics`, in Prometheus' text format, or as OpenMetrics to who asks for that. A program that
embeds the orchestrator has them from `orchestrator.metrics.exposition`: `exposition` makes the page, and
`MetricsCollector` goes into a registry of your own. Nothing is ever put into the global one.

Times are in seconds and sizes in bytes. What has not happened yet is shown as 0 where it is known that it can. Counters
begin anew with the host, so ask for rates.

## How many series there can be

No label has a value that a caller chooses: no tenant, user, tool, address or run. What labels may hold:

| label | bounded by |
|---|---|
| `hook`, `pipeline`, `stage`, `plugin`, `policy` | the file in service; of other names the newest {left} of a kind |
| `code` | the host's own ([errors.md](errors.md)), and for each stage {codes} of its plugin; all others are `other` |
| `class` | the classes of errors ([errors.md](errors.md)), and some of the host's own |
| `worker`, `generation` | the workers that are alive: the series of one that ended are gone |
| `verdict`, `state`, `outcome`, `kind`, `to`, `side` | the words that stand with the metric |

A histogram has one series for each bound, and three more: `_bucket` with `le="+Inf"`, `_sum` and `_count`.

- Bounds of durations: {durations}.
- Bounds of `penstock_host_loop_lag_seconds`: {lags}.

A run costs about a microsecond to count; nothing else is done before somebody asks. Processes are looked at then, in
/proc; a worker's children are not counted with it.
"""

_TAIL = """
## What to watch

```text
# Denied calls in a hundred, for each hook.
100 * sum by (hook) (rate(penstock_calls_total{verdict="deny"}[5m])) / sum by (hook) (rate(penstock_calls_total[5m]))

# Runs that the host had to deny, because something failed.
sum by (pipeline, code) (rate(penstock_denials_total{code=~"penstock\\\\..*"}[5m])) > 0

# How long nine hundred and ninety-nine runs of a thousand take at most.
histogram_quantile(0.999, sum by (le, pipeline) (rate(penstock_run_duration_seconds_bucket[5m])))

# A plugin with fewer workers than it should have, one whose workers keep dying, one that is given up.
penstock_plugin_replicas_ready < penstock_plugin_replicas_wanted
increase(penstock_plugin_worker_ends_total{kind="unplanned"}[10m]) > 3
penstock_plugin_state{state="failed"} == 1

# Something to finish by hand: `penstock runs list --status parked`.
increase(penstock_runs_parked_total[1h]) > 0
```
"""


def metrics_page() -> str:
    """Render docs/metrics.md."""
    head = _HEAD.format(
        left=LEFT_BEHIND, codes=CODES_PER_STAGE, durations=_seconds(DURATION_BOUNDS), lags=_seconds(LAG_BOUNDS)
    )
    return head + "".join("".join(_group(title, metrics)) for title, metrics in GROUPS.items()) + _TAIL


def _seconds(bounds: tuple[float, ...]) -> str:
    return ", ".join(f"{bound:g}" for bound in bounds)


def _group(title: str, metrics: tuple[Metric, ...]) -> Iterator[str]:
    yield f"\n## {title}\n\n| metric | type | labels | series at most | |\n|---|---|---|---|---|\n"
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.series} | {metric.says} |\n"
