"""`flows sample`: the project's sample data as files."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from flow_of_flows.errors import ConfigurationError, ExitCode, PlatformError
from flow_of_flows.project import Project, current_project


def write_sample(folder: Path, scale: float) -> int:
    """Write the files of the project's sample data and say where they are.

    Args:
        folder: where to write them.
        scale: how much to write; 1 is the project's usual amount.

    Raises:
        ConfigurationError: the project has no sample data, or its function does not import.
        PlatformError: the files cannot be written.
    """
    generate = _generator(current_project())
    try:
        generate(folder, scale=scale)
    except OSError as error:
        raise PlatformError(
            f"The sample cannot be written: {error.strerror}",
            location=str(error.filename or folder),
            hint="name another folder, or free some space",
        ) from error
    Console().print(f"Sample data set: {folder}", highlight=False, soft_wrap=True, markup=False)
    return ExitCode.OK


def _generator(project: Project) -> Callable[..., None]:
    where = f"{project.folder / 'pyproject.toml'}, [tool.flow-of-flows] sample"
    if project.sample is None:
        raise ConfigurationError(
            "This project has no sample data", location=where, hint="set it to `module:function` of a generator"
        )
    module, _, function = project.sample.partition(":")
    project.make_importable()
    try:
        found: Callable[..., None] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"It does not import: {error}", location=where, hint="correct it") from error
    return found
