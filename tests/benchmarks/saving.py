"""What it costs to keep what dbt has done while it runs: `python -m tests.benchmarks.saving`.

The child's dbt step on the synthetic project, with checkpoints and without, in turn; ratios are of samples of one turn.
It is the worst case: models of a few milliseconds, each of which waits for a write, and whose compiling leaves the
writer little of Python's lock.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path

from tests.benchmarks import results, synthetic_project
from tests.benchmarks.dbt_variants import Variant
from tests.benchmarks.results import entry

GOAL = 1.02


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="The dbt step with checkpoints against the same without.")
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        from flow_of_flows.dbt import children, runner
        from flow_of_flows.dbt.run_artifacts import Checkpointer

        assert children.dbt_build.name == "dbt-build"
        runner.preload("duckdb")
        project = synthetic_project.write(Path(name) / "project", options.models)
        with_saver, without = (Variant("step", project, Path(name) / kind) for kind in ("with", "without"))
        saving = Checkpointer.running
        pairs = []
        for turn in range(options.repeats + 1):
            order = (with_saver, without) if turn % 2 else (without, with_saver)
            found = {}
            for variant in order:
                # Each sample is a fork of this process.
                setattr(Checkpointer, "running", saving if variant is with_saver else nullcontext)  # noqa: B010
                found[variant is with_saver] = variant.sample()
            if turn > 0:
                pairs.append((found[True], found[False]))
    entries = [
        entry(f"{options.models} models: step with saver / without, {what}", ratios, GOAL, "ratio")
        for what in ("wall", "cpu")
        if (ratios := [getattr(a, what) / getattr(b, what) for a, b in pairs])
    ]
    results.show(entries)
    results.write(entries, results.FOLDER / "saving.json")


if __name__ == "__main__":
    main()
