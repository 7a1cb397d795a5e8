"""`python -m flow_of_flows.bake.checks`: whether everything in prefect.yaml imports, and the dbt project parses.

A process of its own, because it imports what the bake has installed a moment ago, and whatever the project imports.
With `--keep` the parsed project is left where job pods look for it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from flow_of_flows import output
from flow_of_flows.bake.image import KEEP, say
from flow_of_flows.dbt import failures
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.parsed_project import Parsed
from flow_of_flows.dbt.project import PARSE_FILE, DbtProject, find, workspace
from flow_of_flows.dbt.projects import every
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.errors import ConfigurationError, FlowsError
from flow_of_flows.project import Project, current_project
from flow_of_flows.registration import prefect_yaml
from flow_of_flows.settings import Settings, environment, from_environment
from flow_of_flows.warehouse.targets import for_parsing, full_name

# dbt never shows the values of these variables to a project, so that a parse does not depend on them.
SECRET = "DBT_ENV_SECRET_"  # noqa: S105 - the beginning of a name
EPOCH = "SOURCE_DATE_EPOCH"
PLACEHOLDER = "placeholder"
WORKING_DIRECTORY = "prefect.deployments.steps.set_working_directory"


def check(project: Project, *, keep: bool) -> None:
    """Check the entrypoints and the dbt projects of a project, and print what was found.

    Args:
        project: the project.
        keep: leave each parsed dbt project in its target folder, for job pods.

    Raises:
        FlowsError: something does not load, or cannot be installed.
    """
    settings = Settings.load()
    say(f"{_entrypoints(project, settings, in_image=keep)} entrypoints of prefect.yaml import")
    folders = every(settings)
    if folders == (project.folder / "dbt",) and not folders[0].exists():
        say("no dbt project")
        return
    for folder in folders:
        _check_dbt_project(settings.model_copy(update={"dbt_project": folder}), keep=keep)


def _check_dbt_project(settings: Settings, *, keep: bool) -> None:
    """Parse the dbt project of the settings, and print what was found."""
    found = find(settings.dbt_project)
    if keep:
        _remove_generated(found)
    missing = _parse(found, settings, keep=keep)
    say(f"the dbt project {found.name} parses")
    if missing:
        say(
            f"its parse is not kept, and job pods parse again: {', '.join(missing)} not set. "
            "Set the values of production (never a secret) in the environment of `flows bake`"
        )


def _entrypoints(project: Project, settings: Settings, *, in_image: bool) -> int:
    """Import the flow of every deployment, and return how many there are."""
    deployments = prefect_yaml.read(settings.deployments)
    project.make_importable()
    for deployment in deployments:
        deployment.flow()
        for step in deployment.pull or () if in_image else ():
            _refuse_missing_folder(step.get(WORKING_DIRECTORY), project)
    return len(deployments)


def _refuse_missing_folder(step: object, project: Project) -> None:
    """Refuse a working directory that job pods would not find in the image."""
    folder = step.get("directory") if isinstance(step, dict) else None
    if isinstance(folder, str) and Path(folder).is_absolute() and not Path(folder).is_dir():
        raise ConfigurationError(
            f"The working directory {folder} does not exist in the image: the project is in {project.folder}",
            location=f"{project.deployments}, pull",
            hint=f"write `directory: {project.folder}`",
        )


def _remove_generated(project: DbtProject) -> None:
    """Remove what dbt has left in a project elsewhere: it may be of other versions."""
    for folder in (project.folder / "target", project.folder / "logs", project.packages):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)


def _parse(project: DbtProject, settings: Settings, *, keep: bool) -> list[str]:
    """Install the project's packages and parse it.

    Variables that the build does not have get a placeholder. With one for a secret the parse is that of job pods.

    Returns:
        The other variables that got one: their values may change the parse, so that it is not kept.
    """
    placeholders: dict[str, str] = {}
    while True:
        try:
            with environment(placeholders):
                missing = [name for name in placeholders if not name.startswith(SECRET)]
                _parse_once(project, settings, keep=keep and not missing)
                return missing
        except FlowsError as error:
            names = set(failures.variables_without_value(error)) - set(placeholders)
            if not names:
                raise _with_placeholders(error, placeholders) from error
            placeholders |= dict.fromkeys(sorted(names), PLACEHOLDER)


def _with_placeholders(error: FlowsError, placeholders: dict[str, str]) -> FlowsError:
    """Return the error with the variables that may be the reason, because they had no value of their own."""
    if not placeholders or not isinstance(error, ConfigurationError):
        return error
    names = ", ".join(placeholders)
    return ConfigurationError(
        error.message, location=error.location, hint=f"set {names} in the environment of `flows bake`, or {error.hint}"
    )


def _parse_once(project: DbtProject, settings: Settings, *, keep: bool) -> Parsed:
    target = for_parsing(settings, project.folder)
    with (
        tempfile.TemporaryDirectory() as home,
        workspace(Path(home), project, full_name(target)) as paths,
    ):
        session = DbtSession.on(project, target, replace(paths, parse=None), settings)
        session.install_packages(Options())
        parsed = session.parse(Options())
        if keep:
            project.baked_parse.parent.mkdir(exist_ok=True)
            content = (paths.work / PARSE_FILE).read_bytes()
            project.baked_parse.write_bytes(reproducible(content, from_environment(EPOCH)))
    return parsed


def reproducible(parse: bytes, epoch: str | None) -> bytes:
    """Return dbt's parse file with one time in it, so that two builds of the same project give the same file.

    Args:
        parse: content of the file.
        epoch: the time in seconds (SOURCE_DATE_EPOCH); without one the file stays as it is.
    """
    if epoch is None:
        return parse
    import msgpack

    content: dict[str, Any] = msgpack.unpackb(parse, strict_map_key=False)
    seconds = float(epoch)
    moment = datetime.fromtimestamp(seconds, UTC).isoformat()
    times = dict.fromkeys(("generated_at", "invocation_started_at", "run_started_at"), moment)
    content["metadata"] |= {**times, "invocation_id": str(UUID(int=0))}
    content["files"] = dict(sorted(content["files"].items()))
    _set_times(content, seconds)
    packed: bytes = msgpack.packb(content)
    return packed


def _set_times(value: object, seconds: float) -> None:
    """Set the times in dbt's nodes and files; dbt compares those of files only to save itself a checksum."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        _set_times(each, seconds)
    if isinstance(value, dict):
        value.update({key: seconds for key in ("created_at", "modification_time") if isinstance(value.get(key), float)})


def main() -> None:
    """Check the current project; exit with one sentence if anything is wrong."""
    output.begin()
    try:
        check(current_project(), keep=KEEP in sys.argv[1:])
    except FlowsError as error:
        output.end(error)


if __name__ == "__main__":
    main()
