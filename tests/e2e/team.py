"""A team's project and the platform one version later, as folders that images are built from.

`python -m tests.e2e.team FOLDER` writes both: `acme-data`, what `flows init` writes with a plain Prefect flow,
and `platform`, the wheel of the next version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from tests.commands import FLOWS, REPOSITORY

NAME = "acme-data"
# Knows nothing of this package: it could be another team's.
PLAIN_FLOW = '''"""A model's scores: a plain Prefect flow."""

from prefect import flow, task


@task(retries=1)
def score(city: str) -> int:
    """Score one city."""
    return len(city)


@flow(name="score-model", log_prints=True)
def score_model(cities: list[str]) -> dict[str, int]:
    """Score cities."""
    scores = {city: score(city) for city in cities}
    print(scores)
    return scores
'''
STEP = 'Step("score", deployment="score-model/score", after="dbt-build", parameters={"cities": ["Berlin", "Lima"]}),'
LAST_STEP = 'dbt_step("main", after="temperatures"),'


def next_version() -> str:
    """Return the version after the package's."""
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    *first, patch = version.split(".")
    return ".".join([*first, str(int(patch) + 1)])


def write_project(folder: Path) -> None:
    """Write a team's project: what `flows init` writes, with a plain flow as one more step.

    Args:
        folder: where the folder `acme-data` is made.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWS_", "PYTHON"))}
    subprocess.run([FLOWS, "init", NAME], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    project = folder / NAME
    declared = project / "prefect.yaml"
    (entrypoint,) = (
        entry["entrypoint"] for entry in yaml.safe_load(declared.read_text())["deployments"] if entry["name"] == "main"
    )
    package = entrypoint.split(".")[0]
    (project / package / "score.py").write_text(PLAIN_FLOW)
    steps = project / package / "main.py"
    text = steps.read_text()
    assert text.count(LAST_STEP) == 1, text
    steps.write_text(text.replace(LAST_STEP, f"{LAST_STEP}\n    {STEP}"))
    declared.write_text(
        f"{declared.read_text()}\n  - <<: *child\n    name: score\n    entrypoint: {package}.score.score_model\n"
    )


def write_next_platform(folder: Path) -> None:
    """Build the wheel of the next version from this checkout.

    Args:
        folder: where the folder `platform` is made.
    """
    source, version = folder / "source", next_version()
    shutil.copytree(
        REPOSITORY / "flow_of_flows", source / "flow_of_flows", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    declared = (REPOSITORY / "pyproject.toml").read_text()
    (source / "pyproject.toml").write_text(_with_version(declared, version))
    command = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder / "platform" / "wheels"), str(source)]
    subprocess.run(command, check=True)


def _with_version(pyproject: str, version: str) -> str:
    """Return a pyproject.toml whose first version is another."""
    before, _, rest = pyproject.partition('\nversion = "')
    return f'{before}\nversion = "{version}"{rest.partition(chr(34))[2]}'


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    write_project(target)
    write_next_platform(target)
