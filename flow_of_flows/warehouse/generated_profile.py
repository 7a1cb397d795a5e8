"""The profile of a dbt project that brings none: DuckDB, Postgres and Snowflake, from the platform's settings.

It holds references to variables only, so it may be written to a disk: the platform gives dbt their values.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from flow_of_flows.settings import TargetName

FILE = "warehouse.duckdb"
# What DuckDB takes as the name of a database without quotes.
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_FOLDER = "{{ env_var('DBT_DUCKDB_FOLDER') }}"
_COMMON = {
    "schema": "{{ env_var('DBT_SCHEMA') }}",
    "threads": "{{ env_var('DBT_THREADS') | as_number }}",
}
_POSTGRES = {
    "type": "postgres",
    "host": "{{ env_var('PGHOST') }}",
    "port": "{{ env_var('PGPORT') | as_number }}",
    "user": "{{ env_var('PGUSER') }}",
    "password": "{{ env_var('DBT_ENV_SECRET_PGPASSWORD') }}",
    "dbname": "{{ env_var('PGDATABASE') }}",
    "connect_timeout": 10,
    "application_name": "dbt",
    **_COMMON,
}


def _or_none(variable: str) -> str:
    return f"{{{{ (env_var('{variable}') or none) | as_native }}}}"


# Key pair, password or workload identity: what the secret does not have is empty.
_SNOWFLAKE = {
    "type": "snowflake",
    "account": "{{ env_var('DBT_SNOWFLAKE_ACCOUNT') }}",
    "user": "{{ env_var('DBT_SNOWFLAKE_USER') }}",
    "private_key": "{{ env_var('DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY') }}",
    "private_key_passphrase": "{{ env_var('DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY_PASSPHRASE') }}",
    "password": "{{ env_var('DBT_ENV_SECRET_SNOWFLAKE_PASSWORD') }}",
    "authenticator": _or_none("DBT_SNOWFLAKE_AUTHENTICATOR"),
    "workload_identity_provider": _or_none("DBT_SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER"),
    "role": _or_none("DBT_SNOWFLAKE_ROLE"),
    "warehouse": _or_none("DBT_SNOWFLAKE_WAREHOUSE"),
    "database": "{{ env_var('DBT_SNOWFLAKE_DATABASE') }}",
    "host": _or_none("DBT_SNOWFLAKE_HOST"),
    "port": "{{ env_var('DBT_SNOWFLAKE_PORT') | as_number }}",
    "protocol": "{{ env_var('DBT_SNOWFLAKE_PROTOCOL') }}",
    "query_tag": "{{ env_var('DBT_SNOWFLAKE_QUERY_TAG') }}",
    "connect_retries": 2,
    "connect_timeout": 5,
    **_COMMON,
}


def content(warehouse_folder: Path) -> dict[str, Any]:
    """Return a profile with one output for each kind of warehouse; DuckDB is its own target.

    Args:
        warehouse_folder: folder of the DuckDB files; dbt attaches those that are there, read-only, by their names.
    """
    loaded = sorted(file.stem for file in warehouse_folder.glob("*.duckdb") if file.name != FILE)
    attached = [
        {"path": f"{_FOLDER}/{name}.duckdb", "alias": name, "read_only": True}
        for name in loaded
        if _NAME.fullmatch(name)
    ]
    duckdb: dict[str, Any] = {"type": "duckdb", "path": f"{_FOLDER}/{FILE}", **_COMMON}
    if attached:
        duckdb["attach"] = attached
    outputs = {TargetName.DUCKDB: duckdb, TargetName.POSTGRES: _POSTGRES, TargetName.SNOWFLAKE: _SNOWFLAKE}
    return {"target": str(TargetName.DUCKDB), "outputs": {str(name): dict(each) for name, each in outputs.items()}}
