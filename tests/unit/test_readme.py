"""The parts of the README that repeat the code are what the code says."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefinedType

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


def test_the_graph_in_the_readme_is_what_flows_graph_prints() -> None:
    """The picture of the pipeline is the command's own output."""
    with redirect_stdout(io.StringIO()) as printed:
        draw("jaffle-shop", None)
    expected = f"```text\n{printed.getvalue().strip()}\n```\n"
    assert between("graph of jaffle-shop", "end of graph") == expected
