"""Whether a Prefect API is configured, as Prefect itself finds it: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import environment

URL = "http://prefect.example.com/api"
PROFILE = f'active = "x"\n[profiles.x]\nPREFECT_API_URL = "{URL}"\n'
QUESTION = (
    "import sys; from flow_of_flows.settings.operations import is_configured; "
    "print(is_configured(), 'prefect' in sys.modules)"
)


def answer(folder: Path, **variables: str) -> tuple[bool, bool]:
    """Whether an API is configured in a folder, and whether Prefect was imported to find out."""
    done = subprocess.run(
        [sys.executable, "-c", QUESTION],
        cwd=folder,
        env=environment(PREFECT_PROFILES_PATH=str(folder / "profiles.toml"), **variables),
        check=True,
        capture_output=True,
        text=True,
    )
    configured, imported = done.stdout.split()
    return configured == "True", imported == "True"


def test_nothing_is_configured_on_a_new_machine(tmp_path: Path) -> None:
    """The embedded server is used there, and nothing waits for an import of Prefect."""
    assert answer(tmp_path) == (False, False)


@pytest.mark.parametrize("value", [URL, ""])
def test_the_variable_comes_before_everything(tmp_path: Path, value: str) -> None:
    """An empty one asks for the embedded server, whatever the active profile says."""
    (tmp_path / "profiles.toml").write_text(PROFILE)
    assert answer(tmp_path, PREFECT_API_URL=value) == (value == URL, False)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("profiles.toml", PROFILE, (True, True)),
        ("profiles.toml", PROFILE.replace("API_URL", "API_KEY"), (False, True)),
        ("prefect.toml", f'[api]\nurl = "{URL}"\n', (True, True)),
        ("pyproject.toml", f'[tool.prefect.api]\nurl = "{URL}"\n', (True, True)),
        ("pyproject.toml", '[project]\nname = "prefect"\n', (False, False)),
        (".env", f"PREFECT_API_URL={URL}\n", (True, True)),
    ],
    ids=["profile", "profile-without", "prefect.toml", "pyproject", "pyproject-without", "env"],
)
def test_prefect_s_own_files_are_read(tmp_path: Path, file: str, text: str, expected: tuple[bool, bool]) -> None:
    """The active profile, and the files of the working directory; Prefect is imported where it has settings."""
    (tmp_path / file).write_text(text)
    assert answer(tmp_path) == expected
