"""Adapters that the platform does not carry, in a process that has them: see tests/adapters."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.commands import REPOSITORY, environment, run

FOLDER = REPOSITORY / "tests" / "adapters"


@pytest.fixture(scope="session")
def installed() -> Path:
    """A folder with the adapters, which is made once for each state of the requirements."""
    subprocess.run(["make", "--silent", "build/adapters/installed"], cwd=REPOSITORY, check=True, timeout=300)
    return REPOSITORY / "build" / "adapters"


def test_they_build_resume_cancel_plan_and_keep_state(installed: Path) -> None:
    """Their own tests, on the packages of uv.lock."""
    tests = [str(FOLDER / f"test_{name}.py") for name in ("sqlite", "warehouses")]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *tests]
    ended = run(words, environment(PYTHONPATH=str(installed)), REPOSITORY)
    assert ended.code == 0, ended.out + ended.err


@pytest.mark.parametrize("file", ["requirements.txt", "spark.txt"])
def test_their_requirements_agree_with_the_lock(file: str) -> None:
    """Nothing is in both in two versions."""
    lock = tomllib.loads((REPOSITORY / "uv.lock").read_text())
    locked = {package["name"]: package["version"] for package in lock["package"] if "version" in package}
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (FOLDER / file).read_text(), re.MULTILINE))
    assert len(pinned) >= 2
    assert {name: locked[name] for name in pinned if locked.get(name, pinned[name]) != pinned[name]} == {}
