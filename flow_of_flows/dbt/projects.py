"""The dbt projects of one installation: what a run or prefect.yaml names in, settings and a source out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from flow_of_flows.dbt.project import PROJECT_FILE
from flow_of_flows.dbt.repository.source import Source, choose
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import did_you_mean
from flow_of_flows.project import current_project, dbt_folder, dbt_projects_in
from flow_of_flows.settings import Settings


def settings_for(project: str | None, settings: Settings) -> Settings:
    """Return the settings of a run on a project of the image.

    Args:
        project: folder of the dbt project, relative to that of prefect.yaml; None for the settings' own.
        settings: the settings of the installation.

    Raises:
        ConfigurationError: the folder has no dbt project.
    """
    named = (project or "").strip()
    if not named:
        return settings
    folder = dbt_folder(named)
    if not (folder / PROJECT_FILE).is_file():
        known = [relative(each) for each in dbt_projects_in(settings.deployments) if (each / PROJECT_FILE).is_file()]
        place = f"the folder of {PROJECT_FILE}, relative to {current_project().folder}"
        raise ConfigurationError(
            f"There is no dbt project in {named}: no {PROJECT_FILE}",
            location=str(folder),
            hint=f"{did_you_mean(named, known)}give {place}",
        )
    return settings.model_copy(update={"dbt_project": folder})


def chosen_source(
    project: str | None, repository: str | None, ref: str | None, subfolder: str | None, settings: Settings
) -> Source | None:
    """Return the repository that a run asks for; None for a project of the image.

    Args:
        project: folder of a project of the image, from the parameters of the run.
        repository: https URL, from the parameters.
        ref: branch, tag or commit, from the parameters.
        subfolder: folder of the dbt project in the repository, from the parameters.
        settings: what counts where the parameters are not set.

    Raises:
        ConfigurationError: both kinds are asked for, or nothing that can be fetched.
    """
    if not (project or "").strip():
        return choose(repository, ref, subfolder, settings.repository)
    given = {"repository": repository, "ref": ref, "subfolder": subfolder}
    if others := [name for name, value in given.items() if (value or "").strip()]:
        raise ConfigurationError(
            f"project and {others[0]} contradict each other",
            location="parameters",
            hint="give `project` for a folder of the image, or `repository` with its `ref` and `subfolder`",
        )
    return None


def owned(session: DbtSession, source: Source | None, settings: Settings, installed: Settings) -> DbtSession:
    """Return a session that knows whose production its artifacts are.

    Args:
        session: dbt on the project of the run.
        source: the repository of the run; None for a project of the image.
        settings: the settings of the run.
        installed: the settings of the installation.
    """
    name = source_name(source, settings, installed)
    return replace(session, source=name, is_default=settings.target == installed.target)


def source_name(source: Source | None, settings: Settings, installed: Settings) -> str:
    """Return the name of a project's source for the state store; empty for the installation's own project.

    A ref is no part of it: what is built from another branch into the same target is the same production.

    Args:
        source: the repository of the run; None for a project of the image.
        settings: the settings of the run.
        installed: the settings of the installation.
    """
    own = choose(None, None, None, installed.repository)
    if source is not None:
        return "" if own is not None and own.address == source.address else source.address
    if own is None and settings.dbt_project.resolve() == installed.dbt_project.resolve():
        return ""
    return relative(settings.dbt_project)


def every(settings: Settings) -> tuple[Path, ...]:
    """Return the folders of the installation's own dbt project and of all that prefect.yaml names.

    The own one is left out where it does not exist, nobody has named it, and there are others.
    """
    own, others = settings.dbt_project, dbt_projects_in(settings.deployments)
    is_absent = not own.exists() and "dbt_project" not in settings.model_fields_set
    return tuple(dict.fromkeys([*([] if others and is_absent else [own]), *others]))


def relative(folder: Path) -> str:
    """Return a folder as the parameter has it: relative to that of prefect.yaml."""
    return Path(os.path.relpath(folder, current_project().folder)).as_posix()
