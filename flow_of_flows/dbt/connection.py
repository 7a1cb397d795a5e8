"""Whether dbt can connect: the project's profile in, what `dbt debug` finds out. For `flows doctor`.

`python -m flow_of_flows.dbt.connection` is a process of its own: an adapter may wait for a host indefinitely, and only
a process can be ended then.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from flow_of_flows import output
from flow_of_flows.dbt import project
from flow_of_flows.dbt.duckdb_files import must_open
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.errors import FlowsError, PlatformError
from flow_of_flows.messages import one_line, plain
from flow_of_flows.project import current_project
from flow_of_flows.redaction import redact
from flow_of_flows.settings import Settings, TargetName, whole_environment
from flow_of_flows.warehouse.targets import DbtTarget

SECONDS = 60
# dbt's message around the one of the adapter.
_SAID = re.compile(r"returned the following error:\s*>(.*?)\s*Check your database credentials", re.DOTALL)


@contextmanager
def opened(settings: Settings) -> Iterator[DbtSession]:
    """Open a session on the project of the settings that leaves no file.

    Args:
        settings: with the project and the target.

    Raises:
        FlowsError: what a build would end with before it reads the project.
    """
    with (
        TemporaryDirectory() as home,
        DbtSession.opened(project.find(settings.dbt_project), settings, Path(home)) as session,
    ):
        yield session


def variables(target: DbtTarget) -> str:
    """Return where each variable that dbt's output asks for comes from; no value.

    Args:
        target: what dbt connects with.
    """
    origins: dict[str, list[str]] = {}
    for name, origin in target.supplied.origins(target.chosen.asked).items():
        origins.setdefault(str(origin), []).append(name)
    found = "; ".join(f"{origin}: {', '.join(sorted(names))}" for origin, names in sorted(origins.items()))
    return found or "the profile asks for none"


def probe(target: DbtTarget, seconds: float = SECONDS) -> str:
    """Connect as dbt would, and say with what.

    Args:
        target: what dbt connects with.
        seconds: how long it may take.

    Raises:
        PlatformError: it cannot connect, or it takes longer.
    """
    if target.adapter == TargetName.DUCKDB and target.file is not None:
        if not target.file.exists():
            return f"{target.title}: {target.file} (dbt-build will make it)"
        # A connection of dbt would keep out a build that runs now.
        must_open(target.file)
        return f"{target.title}: {target.file}"
    todo = "check that the warehouse is up, and the connection in the profile; `dbt debug` shows the same"
    try:
        ended = subprocess.run(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", __name__],
            timeout=seconds,
            capture_output=True,
            text=True,
            check=False,
            cwd=current_project().folder,
            env={**whole_environment(), "DBT_TARGET": target.name},
        )
    except subprocess.TimeoutExpired as error:
        raise PlatformError(
            f"The warehouse did not answer dbt within {seconds:g} s", location=target.describe(), hint=todo
        ) from error
    if ended.returncode:
        # Anything but the adapter's words is a traceback, whose last line says what it is.
        said = redact(one_line(plain(ended.stdout or ended.stderr.strip().rpartition("\n")[2])))
        raise PlatformError(f"dbt cannot connect: {said}", location=target.describe(), hint=todo)
    return f"{target.title} answers"


def main() -> None:
    """Connect with the project's target; print what the adapter says and exit with 3 if it cannot."""
    output.begin()
    try:
        with opened(Settings.load()) as session:
            said = session.connect()
    except FlowsError as error:
        said = error.message
    if said is not None:
        found = _SAID.search(said)
        sys.stdout.write(redact(one_line(found[1] if found else said)) + "\n")
        sys.exit(PlatformError.exit_code)


if __name__ == "__main__":
    main()
