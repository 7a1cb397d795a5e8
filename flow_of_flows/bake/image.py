"""Bakes the project of the working directory into the environment that this process runs in."""

from __future__ import annotations

import compileall
import importlib.util
import os
import py_compile
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from flow_of_flows.bake import bill
from flow_of_flows.bake.requirements import ProjectRequirements, install
from flow_of_flows.errors import ConfigurationError, ExitCode
from flow_of_flows.project import FILE, Project, dbt_projects_in
from flow_of_flows.settings import whole_environment

# Valid whatever the time of the source file is: times differ between two builds of the same image.
MODE = py_compile.PycInvalidationMode.CHECKED_HASH
CHECKS, KEEP = "flow_of_flows.bake.checks", "--keep"
# What a package brings for its own tests, and what no process imports.
IDLE = frozenset({"test", "tests", "testing", "setuptools"})
NO_CODE = frozenset({"__pycache__", "node_modules", "dbt_packages", "target"})


def bake(project: Project, *, only_check: bool) -> int:
    """Install what a project needs, check it, and leave what its pods read: the parse, byte code, a bill of materials.

    Args:
        project: the project.
        only_check: check the same, and change nothing in the environment.

    Returns:
        Exit code of the checks, which have said what is wrong.

    Raises:
        FlowsError: the requirements cannot be installed, or the project's folder cannot be written.
    """
    _refuse_no_project(project)
    requirements = ProjectRequirements.read(project.folder)
    requirements.refuse_other_platform()
    if not only_check:
        _refuse_read_only(project)
    if requirements.file is not None:
        packages = install(requirements.file, only_check=only_check)
        verb = "would be installed" if only_check else "installed"
        say(f"{len(packages)} packages {verb} for {requirements.file.name} {' '.join(packages)}".rstrip())
    if (code := _checked(project, keep=not only_check)) != ExitCode.OK or only_check:
        return code
    _compile(project)
    file = bill.of_environment()
    if file.is_file():
        bill.write(file)
    return ExitCode.OK


def say(what: str) -> None:
    """Print one line of the command's answer at once: two processes write it."""
    print(what, flush=True)  # noqa: T201 - the answer of the command


def _refuse_no_project(project: Project) -> None:
    if not project.deployments.is_file():
        raise ConfigurationError(
            f"The project has no {FILE}",
            location=str(project.folder),
            hint=f"run this in the folder of {FILE}, or copy it into the image",
        )


def _refuse_read_only(project: Project) -> None:
    """Refuse a project with a folder that the parse or byte code cannot be written to."""
    folders = {project.folder, *(file.parent for file in _own_code(project))}
    folders |= {folder for folder in _dbt_projects(project) if folder.is_dir()}
    if read_only := sorted(folder for folder in folders if not os.access(folder, os.W_OK)):
        raise ConfigurationError(
            "A folder of the project cannot be written",
            location=str(read_only[0]),
            hint=f"copy the project with `COPY --chown={os.getuid()}:{os.getgid()} . {project.folder}`",
        )


def _checked(project: Project, *, keep: bool) -> int:
    """Check the project in a new process, which leaves no files of Prefect and other libraries in the image."""
    with tempfile.TemporaryDirectory() as scratch:
        variables = whole_environment()
        path = filter(None, (str(project.folder), variables.get("PYTHONPATH")))
        own = {"PREFECT_HOME": scratch, "TMPDIR": scratch, "PYTHONPATH": os.pathsep.join(path)}
        # What Python would write while it imports depends on the times of files.
        own["PYTHONDONTWRITEBYTECODE"] = "1"
        if not Path.home().is_dir():
            own["HOME"] = scratch
        command = [sys.executable, "-m", CHECKS, *([KEEP] if keep else [])]
        return subprocess.run(command, cwd=project.folder, env=variables | own, check=False).returncode  # noqa: S603


def _compile(project: Project) -> None:
    """Compile the project, and the installed packages that have no byte code yet; the others stay as they are."""
    packages = Path(sysconfig.get_path("purelib"))
    missing = (file for file in packages.rglob("*.py") if _lacks_byte_code(file.relative_to(packages), file))
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(_compiled, (*sorted(missing), *sorted(_own_code(project))), chunksize=16):
            pass


def _lacks_byte_code(name: Path, file: Path) -> bool:
    """Return whether a module of a package has no byte code; what no process imports does not count.

    Args:
        name: path of the module below the packages' folder.
        file: the module.
    """
    return IDLE.isdisjoint(name.parts) and not Path(importlib.util.cache_from_source(file)).is_file()


# A file that is no code, such as a template with the name of a module, stays without byte code.
_compiled = partial(compileall.compile_file, force=True, quiet=2, invalidation_mode=MODE)


def _own_code(project: Project) -> Iterator[Path]:
    """Yield the modules of a project, without its dbt projects, whose Python models dbt reads itself."""
    others = _dbt_projects(project)
    for parent, folders, files in os.walk(project.folder):
        folders[:] = [name for name in folders if _has_code(Path(parent, name), others)]
        yield from _modules(parent, files)


def _has_code(folder: Path, others: Collection[Path]) -> bool:
    return folder.name not in NO_CODE and not folder.name.startswith(".") and folder not in others


def _dbt_projects(project: Project) -> set[Path]:
    """Return the folders of the project's own dbt project and of those that prefect.yaml names."""
    return {project.dbt_project, *dbt_projects_in(project.deployments)}


def _modules(parent: str, files: Iterable[str]) -> Iterator[Path]:
    return (Path(parent, name) for name in files if name.endswith(".py"))
