"""The dbt profile of a test: an output that builds in the test's DuckDB file, whatever the project's own target is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from flow_of_flows.settings import TargetName

FILE = "profiles.yml"
# The platform sets the folder for dbt, from FLOWS_WAREHOUSE_FOLDER.
FOLDER = "DBT_DUCKDB_FOLDER"
PATH = f"{{{{ env_var('{FOLDER}') }}}}/warehouse.duckdb"
OUTPUT = {
    "type": "duckdb",
    "schema": "{{ env_var('DBT_SCHEMA', 'analytics') }}",
    "threads": "{{ env_var('DBT_THREADS', '4') | as_number }}",
}


def variables(project: Path, folder: Path) -> dict[str, str]:
    """Return the variables with which dbt builds a project in the test's DuckDB file; none without a dbt project.

    A profile with an output `duckdb` in the folder of the platform is used as it is. Of every other one a copy is
    written whose output `duckdb` is its first one for DuckDB, or a plain one, with the path of the test.

    Args:
        project: folder of the dbt project.
        folder: where a copy of the profile goes.
    """
    name = _profile_name(project)
    if name is None:
        return {}
    profiles = _read(project / FILE)
    outputs = _outputs(profiles.get(name))
    target = {"DBT_TARGET": str(TargetName.DUCKDB)}
    if _is_in_folder(outputs.get(TargetName.DUCKDB)):
        return target
    output = {**OUTPUT, **next(_duckdb(outputs), {}), "path": PATH}
    written = {**profiles, name: {"target": "duckdb", "outputs": {**outputs, "duckdb": output}}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(yaml.safe_dump(written), encoding="utf-8")
    return {**target, "DBT_PROFILES_DIR": str(folder)}


def _profile_name(project: Path) -> str | None:
    """Return the name of the project's profile; None if dbt would not find one, which it says better itself."""
    name = _read(project / "dbt_project.yml").get("profile")
    return str(name) if name and "{" not in str(name) else None


def _read(file: Path) -> dict[str, Any]:
    """Return a YAML file, empty if it is missing or broken: dbt says so, where it matters."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _outputs(profile: object) -> dict[str, Any]:
    outputs = profile.get("outputs") if isinstance(profile, dict) else None
    return outputs if isinstance(outputs, dict) else {}


def _duckdb(outputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return (output for output in outputs.values() if isinstance(output, dict) and output.get("type") == "duckdb")


def _is_in_folder(output: object) -> bool:
    return isinstance(output, dict) and output.get("type") == "duckdb" and FOLDER in str(output.get("path"))
