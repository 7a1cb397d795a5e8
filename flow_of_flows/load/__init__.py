"""Loading rows into any target with dlt: what a project declares and calls in its ingest children.

A child that loads one table:

    COLUMNS = (Column("day", ColumnType.DATE), Column("celsius", ColumnType.DOUBLE))
    WEATHER = Table("weather", "days", ("day",), COLUMNS, cursor="day")

    @child("weather")
    def weather() -> ChildReport:
        loaded = load(WEATHER, read, target=from_settings(Settings.load()), source="weather.example.com")
        return loaded.report(WEATHER, "weather.example.com")
"""

from flow_of_flows.load.files import CsvFile, download
from flow_of_flows.load.loading import Loaded, load
from flow_of_flows.load.table import Column, ColumnType, Pages, Reader, Row, Table, Value, in_pages
from flow_of_flows.redaction import file_in, public

__all__ = [
    "Column",
    "ColumnType",
    "CsvFile",
    "Loaded",
    "Pages",
    "Reader",
    "Row",
    "Table",
    "Value",
    "download",
    "file_in",
    "in_pages",
    "load",
    "public",
]
