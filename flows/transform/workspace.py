"""The folders of one dbt run: FLOWS_HOME, project and target in, a folder of its own out. Called by `dbt_core`.

<home>/dbt/<project>-<hash>/partial_parse.msgpack   the parsed project, so that the next run parses what changed
<home>/dbt/<project>-<hash>/run-xxxx/               dbt's target and log folder of one run, removed afterwards
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.errors import PlatformError
from flows.transform.arguments import Paths
from flows.transform.project import PARSE_FILE, Project, cache_key


@contextmanager
def workspace(home: Path, project: Project, target: str) -> Iterator[Paths]:
    """Paths for the run.

    Args:
        home: FLOWS_HOME.
        project: the project; its folder may be read-only.
        target: names the warehouse and schema; parsing depends on them.

    Raises:
        PlatformError: the folder cannot be written.
    """
    cache = home / "dbt" / cache_key(project, target)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    except OSError as error:
        raise PlatformError(
            f"The folder for dbt's files cannot be made: {error.strerror}",
            where=str(cache),
            todo="set FLOWS_HOME to a folder that can be written",
        ) from error
    kept = cache / PARSE_FILE
    seed = next((file for file in (kept, project.baked_parse) if file.is_file()), None)
    try:
        yield Paths(project.folder, work, seed)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def keep_parse(paths: Paths) -> Paths:
    """After a parse: keep its file for the next run, if dbt wrote one, that is, if something had changed."""
    written = paths.work / PARSE_FILE
    if not written.is_file():
        return paths
    kept = paths.work.parent / PARSE_FILE
    written.replace(kept)
    return Paths(paths.project, paths.work, kept)
