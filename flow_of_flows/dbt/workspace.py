"""The folders of one dbt run: FLOWS_HOME, project and target in, a folder of its own out.

<home>/dbt/<project>-<hash>/partial_parse.msgpack   the parsed project, so that the next run parses what changed
<home>/dbt/<project>-<hash>/run-xxxx/               dbt's target and log folder of one run; removed with it
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from flow_of_flows.dbt.arguments import Paths
from flow_of_flows.dbt.project import PARSE_FILE, DbtProject, cache_key
from flow_of_flows.dbt.run_folder import folder_of_run


@contextmanager
def workspace(home: Path, project: DbtProject, target: str) -> Iterator[Paths]:
    """Paths for the run.

    Args:
        home: FLOWS_HOME.
        project: the project; its folder may be read-only.
        target: names the warehouse and schema; parsing depends on them.

    Raises:
        PlatformError: the folder cannot be written.
    """
    cache = home / "dbt" / cache_key(project, target)
    with folder_of_run(cache, "dbt's files") as work:
        seed = next((file for file in (cache / PARSE_FILE, project.baked_parse) if file.is_file()), None)
        yield Paths(project.folder, work, seed, project.profiles)


def keep_parse(paths: Paths) -> Paths:
    """After a parse: keep its file for the next run, if dbt wrote one, that is, if something had changed."""
    written = paths.work / PARSE_FILE
    if not written.is_file():
        return paths
    kept = paths.work.parent / PARSE_FILE
    written.replace(kept)
    return replace(paths, parse=kept)
