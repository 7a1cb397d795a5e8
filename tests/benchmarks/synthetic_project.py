"""Writes a synthetic dbt project of N models into a folder; used by the benchmarks of the dbt step."""

from __future__ import annotations

from pathlib import Path

PROJECT = """\
name: synthetic
version: "1.0"
config-version: 2
profile: synthetic
model-paths: [models]
models:
  synthetic:
    +materialized: table
"""

PROFILES = """\
synthetic:
  target: "{{ env_var('DBT_TARGET', 'duckdb') }}"
  outputs:
    duckdb:
      type: duckdb
      path: "{{ env_var('DBT_DUCKDB_FOLDER', '.') }}/warehouse.duckdb"
      schema: "{{ env_var('DBT_SCHEMA', 'analytics') }}"
      threads: "{{ env_var('DBT_THREADS', '4') | int }}"
"""

WIDTH = 10


def write(folder: Path, models: int) -> Path:
    """Write the project: layers of ten tables, each reading one or two of the layer below, a test in every tenth.

    Args:
        folder: where to write; made if missing.
        models: how many models.

    Returns:
        The folder.
    """
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(PROJECT)
    (folder / "profiles.yml").write_text(PROFILES)
    for number in range(models):
        (folder / "models" / f"{name(number)}.sql").write_text(_sql(number))
    described = "\n".join(_description(number) for number in range(0, models, 10))
    (folder / "models" / "models.yml").write_text(f"version: 2\nmodels:\n{described}\n")
    return folder


def name(number: int) -> str:
    """Name of the nth model."""
    return f"model_{number:04d}"


def _sql(number: int) -> str:
    if number < WIDTH:
        return f"select {number} as id, 1 as amount\n"
    above = number - WIDTH
    second = above - above % WIDTH + (above + 1) % WIDTH
    return (
        f"with first_input as (select * from {{{{ ref('{name(above)}') }}}}),\n"
        f"second_input as (select * from {{{{ ref('{name(second)}') }}}})\n"
        "select first_input.id, first_input.amount + coalesce(second_input.amount, 0) as amount\n"
        "from first_input left join second_input on first_input.id = second_input.id\n"
    )


def _description(number: int) -> str:
    return (
        f"  - name: {name(number)}\n    description: One of many.\n"
        "    columns:\n      - name: id\n        data_tests: [not_null]"
    )
