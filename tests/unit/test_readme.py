"""The parts of the README that repeat the code are what the code says."""

from __future__ import annotations

import importlib
import io
from contextlib import closing, redirect_stdout
from datetime import date
from pathlib import Path

import duckdb
import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefinedType

from flow_of_flows import DataError
from flow_of_flows.cli.graph import draw
from flow_of_flows.project import VARIABLE, current_project
from flow_of_flows.settings import GROUPS, Settings
from flow_of_flows.settings.variables import declared, variable_of
from tests.commands import REPOSITORY

README = REPOSITORY / "README.md"
PROJECT = "Folder of the project; unset: the nearest one with a prefect.yaml, upwards from the working directory."
TRANSFORM = "Where a pipeline runs its dbt step: core (in a pod) or cloud (dbt Cloud)."
HEAD = "| variable | default | meaning |\n|---|---|---|\n"


def between(start: str, end: str) -> str:
    """The text between two comments of the README."""
    return README.read_text().split(f"<!-- {start}", 1)[1].split("-->\n", 1)[1].split(f"<!-- {end}", 1)[0]


def row(variable: str, field: FieldInfo) -> str:
    """One setting as a row of the table."""
    return f"| `{variable}` | {default(field.get_default(call_default_factory=False))} | {field.description} |\n"


def default(value: object) -> str:
    """A default as people write it; what depends on the machine is said in words."""
    match value:
        case None | "" | PydanticUndefinedType():
            return ""
        case SecretStr():
            return ""
        case _:
            return f"`{value}`"


def settings_table() -> str:
    """Every setting of the platform and of the project, in the order of the code."""
    current_project().load_settings()
    rows = [row(VARIABLE, FieldInfo(description=PROJECT))]
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            group = GROUPS[name]
            rows += [row(variable_of(group, inner), value) for inner, value in group.model_fields.items()]
        elif name == "transform":
            rows.append(row("FLOWS_TRANSFORM_<PIPELINE>", FieldInfo(default="core", description=TRANSFORM)))
        elif name == "local_limit":
            rows.append(f"| `FLOWS_LOCAL_LIMIT` | two for each core, at least 8 | {field.description} |\n")
        else:
            rows.append(row(variable_of(Settings, name), field))
    rows += [row(variable_of(group, name), field) for group in declared() for name, field in group.model_fields.items()]
    return HEAD + "".join(rows)


def test_the_table_of_settings_is_complete_and_current() -> None:
    """Every setting has its row, with the default and the description of the code."""
    assert between("settings: made from flow_of_flows/settings", "end of settings") == settings_table()


def test_the_child_of_the_readme_loads_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is written there, with another city; a second load of the same rows changes nothing."""
    code = between("the child weather", "end of the child").removeprefix("```python\n").removesuffix("```\n")
    (tmp_path / "weather_of_the_readme.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FLOWS_WAREHOUSE_FOLDER", str(tmp_path))
    module = importlib.import_module("weather_of_the_readme")
    for _ in range(2):
        report = module.weather.fn.__wrapped__(city="Rome")
        assert report.facts["rows_total"] == 2
    with closing(duckdb.connect(str(tmp_path / "temperatures.duckdb"), read_only=True)) as connection:
        found = connection.sql("select city, day, celsius from weather.temperatures order by day").fetchall()
    assert found == [("Rome", date(2026, 7, 1), 24.5), ("Rome", date(2026, 7, 2), 27.0)]
    with pytest.raises(DataError, match="no city without a name"):
        module.weather.fn.__wrapped__(city="")


def test_the_graph_in_the_readme_is_what_flows_graph_prints() -> None:
    """The picture of the pipeline is the command's own output."""
    with redirect_stdout(io.StringIO()) as printed:
        draw("jaffle-shop", None)
    expected = f"```text\n{printed.getvalue().strip()}\n```\n"
    assert between("graph of jaffle-shop", "end of graph") == expected
