"""What it costs to begin: environments from a warm cache, and the command line's own CPU.

    uv run python benchmarks/start.py [--rounds N]

CPU times are of whole processes, user and system, as the kernel counts them; they are compared with a bare interpreter
that imports pydantic, yaml and click, in turns.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from isolation.manifest import Manifest, read_manifest
from isolation.store.store import Store

ROOT = Path(__file__).parent.parent
PENSTOCK = str(Path(sys.executable).with_name("penstock"))
EXAMPLE = str(ROOT / "examples" / "gateway-guard")
IMPORTS = [sys.executable, "-c", "import pydantic, yaml, click; pydantic.BaseModel"]


def _cpu_seconds(argv: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _environment(manifest: Manifest, build: list[float], found: list[float]) -> None:
    """Build into an empty store from uv's warm cache, then ask again as a process that starts later would."""
    with tempfile.TemporaryDirectory() as folder:
        with Store(Path(folder)) as store:
            build.append(_seconds(lambda: store.prepare(manifest)))
        with Store(Path(folder)) as store:
            found.append(_seconds(lambda: store.prepare(manifest)))


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    pii = read_manifest(ROOT / "plugins" / "pii_filter")
    build: list[float] = []
    found: list[float] = []
    cpu: dict[str, list[float]] = {"imports": [], "help": [], "lint": []}
    _environment(pii, [], [])  # fills uv's cache
    for _ in track(range(rounds), console=Console(stderr=True), transient=True):
        _environment(pii, build, found)
        cpu["imports"].append(_cpu_seconds(IMPORTS))
        cpu["help"].append(_cpu_seconds([PENSTOCK, "--help"]))
        cpu["lint"].append(_cpu_seconds([PENSTOCK, "lint", EXAMPLE]))
    middle = {name: statistics.median(values) for name, values in cpu.items()}
    table = Table(title=f"medians of {rounds} rounds")
    for heading in ("what", "this", "ratio", "aim"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    table.add_row("environment of pii_filter, warm cache, usable", f"{statistics.median(build):.3f} s", "", "1 s")
    table.add_row("the same, found again", f"{statistics.median(found) * 1e3:.1f} ms", "", "20 ms")
    ratio = middle["help"] / middle["imports"]
    table.add_row("penstock --help, CPU", f"{middle['help']:.3f} s", f"{ratio:.2f}x", "0.2 s")
    ratio = middle["lint"] / middle["imports"]
    table.add_row("penstock lint examples/gateway-guard, CPU", f"{middle['lint']:.3f} s", f"{ratio:.2f}x", "2x")
    table.add_row("import pydantic, yaml, click, CPU", f"{middle['imports']:.3f} s", "1.00x", "")
    Console().print(table)


if __name__ == "__main__":
    main()
