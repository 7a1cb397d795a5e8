"""The DuckDB warehouse of a test: rows out, and rows in that a test begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from flow_of_flows.settings import Settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Its schemas are looked at first.
MAIN = "warehouse"


@dataclass(frozen=True)
class DuckDBWarehouse:
    """The folder of a test's DuckDB files: one that dbt builds in, and one for each table that is loaded.

    Attributes:
        folder: the folder; empty when the test begins.
    """

    folder: Path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the warehouse of these settings, and create its folder."""
        settings.warehouse_folder.mkdir(parents=True, exist_ok=True)
        return cls(settings.warehouse_folder)

    @property
    def file(self) -> Path:
        """Return the file that dbt builds in."""
        return self.folder / f"{MAIN}.duckdb"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query over all files; `schema.table` and `table` find a table in any of them.

        Moments are in UTC. Of two tables of one name, that of dbt is found first; `file.schema.table` names the other.
        """
        import duckdb

        with duckdb.connect() as connection:
            self._attach(connection)
            return connection.execute(sql).fetchall()

    def execute(self, *statements: str, file: str = MAIN) -> None:
        """Run statements that write, for rows that a test begins with.

        Args:
            statements: SQL.
            file: name of the file, without `.duckdb`: that of dbt, or the name of a loaded table.
        """
        import duckdb

        with duckdb.connect(str(self.folder / f"{file}.duckdb")) as connection:
            for statement in statements:
                connection.execute(statement)

    def _attach(self, connection: DuckDBPyConnection) -> None:
        files = sorted(self.folder.glob("*.duckdb"), key=lambda file: (file.stem != MAIN, file.stem))
        for file in files:
            connection.execute(f"attach {_literal(str(file))} as {_name(file.stem)} (read_only)")
        connection.execute("set timezone = 'UTC'")
        schemas = connection.execute(
            "select catalog_name, schema_name from information_schema.schemata"
            " where schema_name not in ('information_schema', 'pg_catalog')"
        ).fetchall()
        paths = [f"{_name(found)}.{_name(schema)}" for file in files for found, schema in schemas if found == file.stem]
        if paths:
            connection.execute(f"set search_path = {_literal(','.join(paths))}")


def _name(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""'))


def _literal(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))
