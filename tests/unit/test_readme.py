"""The parts of the README that repeat the code are what the code says."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from flows.commands.drawing import draw
from flows.settings import GROUPS, PREFIX, REPOSITORY, Settings, group_variable

README = REPOSITORY / "README.md"
HEAD = "| variable | default | meaning |\n|---|---|---|\n"


def between(start: str, end: str) -> str:
    """The text between two comments of the README."""
    return README.read_text().split(f"<!-- {start}", 1)[1].split("-->\n", 1)[1].split(f"<!-- {end}", 1)[0]


def row(variable: str, field: FieldInfo) -> str:
    """One setting as a row of the table."""
    return f"| `{variable}` | {default(field.default)} | {field.description} |\n"


def default(value: object) -> str:
    """A default as people write it; what depends on the machine is said in words."""
    match value:
        case None | "":
            return ""
        case SecretStr():
            return ""
        case Path():
            return f"`{value.relative_to(REPOSITORY) if value.is_absolute() else value}`"
        case _:
            return f"`{value}`"


def settings_table() -> str:
    """Every setting, in the order of the code."""
    rows = []
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            group = GROUPS[name]
            rows += [row(group_variable(group, inner), value) for inner, value in group.model_fields.items()]
        elif name == "local_limit":
            rows.append(f"| `{PREFIX}LOCAL_LIMIT` | two for each core, at least 8 | {field.description} |\n")
        else:
            rows.append(row("DBT_TARGET" if name == "target" else PREFIX + name.upper(), field))
    return HEAD + "".join(rows)


def test_the_table_of_settings_is_complete_and_current() -> None:
    """Every setting has its row, with the default and the description of the code."""
    assert between("settings: made from flows/settings", "end of settings") == settings_table()


def test_the_graph_in_the_readme_is_what_flows_graph_prints() -> None:
    """The picture of the pipeline is the command's own output."""
    with redirect_stdout(io.StringIO()) as printed:
        draw("jaffle-shop", None)
    expected = f"```text\n{printed.getvalue().strip()}\n```\n"
    assert between("graph of jaffle-shop", "end of graph") == expected
