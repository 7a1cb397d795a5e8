"""A team's own folder: its pipeline, its child and a plain Prefect flow run there, with nothing of this project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import flows

FLOWS = '''
from prefect import flow

from flow_of_flows import ChildReport, Step, child, pipeline


@child("weather")
def weather(city: str = "Berlin") -> ChildReport:
    """Load the weather.

    Args:
        city: whose weather.
    """
    return ChildReport(summary=f"loaded the weather of {city}", facts={"rows": 1})


@flow(name="score-model")
def score(rounds: int = 1) -> str:
    return f"scored {rounds} times"


forecast = pipeline("forecast", Step("weather", parameters={"city": "Rome"}))
'''
DEPLOYMENTS = """
deployments:
  - {name: forecast, entrypoint: team_flows.forecast}
  - {name: weather, entrypoint: team_flows.weather}
  - {name: score, entrypoint: "team_flows.py:score", parameters: {rounds: 3}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, with a folder below it as the working directory, and no setting."""
    (tmp_path / "team_flows.py").write_text(FLOWS)
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS)
    below = tmp_path / "notebooks"
    below.mkdir()
    monkeypatch.chdir(below)
    monkeypatch.delenv("FLOWS_HOME")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("forecast", "- `weather`: loaded the weather of Rome"),
        ("weather --set city=Oslo", "- `weather`: loaded the weather of Oslo"),
        ("score", "# score-model completed"),
    ],
)
def test_everything_in_prefect_yaml_runs_from_a_folder_below_it(words: str, line: str, folder: Path) -> None:
    """A pipeline, a child and a flow that knows nothing of this package; what they leave is in the project."""
    ended = flows("run", *words.split(), "--local")
    assert (ended.code, ended.err) == (0, "")
    assert line in ended.out.splitlines()
    assert (folder / ".flows" / "prefect" / "prefect.db").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("wether", "Unknown deployment wether. Where: {file}. Next: did you mean weather? there are {names}."),
        (
            "weather --only a",
            "weather is not a pipeline: it has no steps. Where: --only, --skip, --resume-from. Next: ",
        ),
        ("weather --set town=Oslo", "weather has no parameter town. Where: --set. Next: "),
    ],
)
def test_a_name_or_parameter_that_is_not_there_is_refused(words: str, message: str, folder: Path) -> None:
    """One sentence, before anything runs."""
    ended = flows("run", *words.split(), "--local")
    assert ended.code == 2
    expected = message.format(file=folder / "prefect.yaml", names="forecast, weather, score")
    assert ended.err.startswith(f"error: {expected}")
