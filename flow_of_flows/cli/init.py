"""`flows init`: creates a project and says what to do next."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from rich.console import Console

from flow_of_flows.errors import ExitCode
from flow_of_flows.scaffold.project import Created, create


def init_project(folder: Path, *, name: str | None, dbt: str | None, warehouse: str | None) -> int:
    """Create a project and print its files and the next commands.

    Args:
        folder: of the project.
        name: of the project; None: that of the folder.
        dbt: folder or git URL of an existing dbt project.
        warehouse: dbt's name of an adapter.

    Raises:
        FlowsError: the project cannot be created; nothing is left of it.
    """
    created = create(folder, name=name, dbt=dbt, warehouse=warehouse)
    Console(highlight=False, soft_wrap=True, markup=False).print("\n".join(_lines(created)))
    return ExitCode.OK


def _lines(created: Created) -> list[str]:
    placed, layout = created.placed, created.layout
    lines = [f"written  {path}" for path in placed.written if path not in created.copied]
    if count := sum(path in created.copied for path in placed.written):
        lines.append(f"written  {layout.dbt_folder}/ (the dbt project as it was: {count} files)")
    lines += [f"kept     {path}" for path in placed.kept]
    if layout.existing and layout.existing.unchecked:
        lines += ["", f"The dbt project was not parsed: {layout.existing.unchecked}."]
    if created.lacks_table:
        lines += ["", "Add to pyproject.toml:", "", "  [tool.flow-of-flows]", f'  dbt-project = "{layout.dbt_folder}"']
    return [*lines, "", f"The project {layout.name.text} is in {created.folder}. Next:", "", *_commands(created)]


def _commands(created: Created) -> list[str]:
    commands = list(created.layout.commands)
    if created.lacks_platform:
        commands = [created.layout.install, *commands]
    if created.folder != Path.cwd():
        commands[0] = f"cd {shlex.quote(os.path.relpath(created.folder))} && {commands[0]}"
    return [f"  {command}" for command in commands]
