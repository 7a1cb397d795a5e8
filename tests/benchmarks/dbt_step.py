"""The child's dbt step against raw dbt and prefect-dbt: `python -m tests.benchmarks.dbt_step`.

On the same synthetic project of 10, 100 and 500 models (DuckDB, 4 threads), in turn, so that a busy machine slows all:

    step                      the child's work, without Prefect's engine, in a fork of a process that has dbt imported
                              (what the preloading server of a laptop run does), with its parse of the run before
    step, fresh interpreter   the same in a new Python, imports included
    raw cold                  `dbt build --no-partial-parse`, the command line, a new Python
    raw warm                  `dbt build`, with its parse of the run before
    prefect-dbt               PrefectDbtRunner in a flow, a new Python, with a Prefect API (whose CPU is not counted)

The first run of each is not counted. Ratios are of samples of the same turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import results, synthetic_project
from tests.benchmarks.dbt_variants import Sample, Variant
from tests.benchmarks.results import Entry, entry

BASE = ("step", "step, fresh interpreter", "raw cold", "raw warm")
GOALS = {"raw cold": 0.9, "raw warm": 1.1}
GROWTH_GOAL_MS = 5.0


Samples = dict[str, list[Sample]]


def measure(size: int, repeats: int, prefect_repeats: int, folder: Path) -> Samples:
    """Sample every variant on a project of this size, in turn."""
    project = synthetic_project.write(folder / f"project-{size}", size)
    names = (*BASE, *(["prefect-dbt"] if prefect_repeats else []))
    variants = [Variant(name, project, folder / f"{size}-{name.replace(' ', '-')}") for name in names]
    found: Samples = {variant.name: [] for variant in variants}
    for turn in range(repeats + 1):
        for variant in variants:
            # It keeps nothing that a first run would have to make; at some minutes a run it is sampled sparingly.
            if variant.name == "prefect-dbt" and not 0 < turn <= prefect_repeats:
                continue
            sample = variant.sample()
            results.say(f"{size:4d} models, turn {turn}, {variant.name}: {sample.wall:.2f} s, CPU {sample.cpu:.2f} s")
            if turn > 0:
                found[variant.name].append(sample)
    return found


def compare(size: int, found: Samples) -> list[Entry]:
    """The step against each of the others."""
    entries = []
    for kind in ("step", "step, fresh interpreter"):
        for other in ("raw cold", "raw warm", "prefect-dbt"):
            for what in ("wall", "cpu"):
                pairs = zip(found[kind], found.get(other, []), strict=False)
                ratios = [getattr(a, what) / getattr(b, what) for a, b in pairs]
                goal = GOALS.get(other) if kind == "step" else None
                if ratios:
                    entries.append(entry(f"{size} models: {kind} / {other}, {what}", ratios, goal, "ratio"))
    return entries


def growth(found: dict[int, Samples]) -> list[Entry]:
    """What a model costs more in the step than in raw warm dbt, from the smallest project to the largest, in ms."""
    small, large = min(found), max(found)
    if small == large:
        return []
    entries = []
    for what in ("wall", "cpu"):
        extra = {
            size: [getattr(a, what) - getattr(b, what) for a, b in zip(s["step"], s["raw warm"], strict=True)]
            for size, s in found.items()
        }
        values = [(b - a) * 1000 / (large - small) for a, b in zip(extra[small], extra[large], strict=False)]
        entries.append(entry(f"growth of step over raw warm, {what}", values, GROWTH_GOAL_MS, "ms per model"))
    return entries


def show_samples(found: dict[int, Samples]) -> None:
    """Print the medians of the samples as a table."""
    results.say(f"{'models':>6}  {'variant':<24}{'wall s':>8}{'CPU s':>8}  samples")
    for size, samples in found.items():
        for name, values in samples.items():
            wall, cpu = (statistics.median(getattr(v, what) for v in values) for what in ("wall", "cpu"))
            results.say(f"{size:>6}  {name:<24}{wall:>8.2f}{cpu:>8.2f}  {len(values)}")
    results.say("")


@contextmanager
def prefect_api(folder: Path, *, needed: bool) -> Iterator[None]:
    """A Prefect server for prefect-dbt's task runs."""
    if not needed:
        yield
        return
    from prefect.server.api.server import SubprocessASGIServer

    os.environ |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    server = SubprocessASGIServer()
    server.start(timeout=120)
    os.environ["PREFECT_API_URL"] = server.api_url
    try:
        yield
    finally:
        server.stop()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="The child's dbt step against raw dbt and prefect-dbt.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 500])
    parser.add_argument("--repeats", type=int, nargs="+", default=[3], help="for all sizes, or one for each")
    parser.add_argument("--prefect-dbt-repeats", type=int, default=1, help="0: leave prefect-dbt out")
    parser.add_argument("--prefect-dbt-up-to", type=int, default=500, help="largest project it builds")
    options = parser.parse_args()
    repeats = options.repeats if len(options.repeats) > 1 else options.repeats * len(options.sizes)
    with tempfile.TemporaryDirectory() as name, prefect_api(Path(name), needed=options.prefect_dbt_repeats > 0):
        from flow_of_flows.dbt import children, runner

        assert children.dbt_build.name == "dbt-build"
        runner.preload("duckdb")
        found = {
            size: measure(
                size, turns, options.prefect_dbt_repeats if size <= options.prefect_dbt_up_to else 0, Path(name)
            )
            for size, turns in zip(options.sizes, repeats, strict=True)
        }
    entries = [e for size, samples in found.items() for e in compare(size, samples)] + growth(found)
    show_samples(found)
    results.show(entries)
    results.write(entries, results.FOLDER / "dbt_step.json")


if __name__ == "__main__":
    main()
