"""Bad input to the shop children: one clear error each, and the rows of the last good load stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flow_of_flows.errors import ConfigurationError, DataError, FlowsError, PlatformError
from flows.ingest import shop
from tests.fixtures.shop_files import ORDERS, load, put, rows

LINE = "3,7,2025-02-01T10:00:00Z,placed,2025-02-05T00:00:00Z\n"


def refusal(tmp_path: Path, source: Path | str, family: type[FlowsError]) -> str:
    """The sentence a load ends with, after a good load whose rows must still be there."""
    load(shop.raw_orders, put(tmp_path / "good", "raw_orders", ORDERS))
    with pytest.raises(family) as caught:
        load(shop.raw_orders, source)
    assert rows(tmp_path, "raw_orders", "select id from jaffle_shop.raw_orders order by id") == [(1,), (2,)]
    assert rows(tmp_path, "raw_orders", "select count(*) from jaffle_shop._dlt_loads") == [(1,)]
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the file is empty"),
        (
            ORDERS.replace("customer_id", "customer"),
            "column customer_id is missing; the header has id, customer, ordered_at, status, updated_at",
        ),
        (ORDERS.replace("customer_id", "id"), "the header has column id twice"),
        (ORDERS + LINE.replace("3,7", "3,seven"), "line 4, column customer_id is not a whole number"),
        (ORDERS + LINE.replace("3,7", ",7"), "line 4, column id is empty"),
        (ORDERS + LINE.replace("2025-02-05", "5 Feb"), "line 4, column updated_at is not an ISO 8601 timestamp"),
        (ORDERS + "3,7\n", "line 4 has 2 fields, the header 5"),
        (ORDERS + '3,7,"', "line 4 is not CSV: unexpected end of data"),
    ],
)
def test_bad_file(tmp_path: Path, text: str, what: str) -> None:
    """A bad file names line and column, and nothing of it is loaded."""
    message = refusal(tmp_path, put(tmp_path / "in", "raw_orders", text), DataError)
    todo = "export it with a header line" if not text else "correct the file at its source, then run this again"
    assert message == f"raw_orders.csv: {what}. Where: {tmp_path}/in/raw_orders.csv. Next: {todo}."


def test_file_that_is_not_utf8(tmp_path: Path) -> None:
    """Another encoding is refused, not guessed."""
    folder = put(tmp_path / "in", "raw_orders", "")
    (folder / "raw_orders.csv").write_bytes(ORDERS.encode() + LINE.replace("placed", "plac\xe9").encode("latin-1"))
    assert "raw_orders.csv: the file is not UTF-8 text" in refusal(tmp_path, folder, DataError)


def test_missing_folder(tmp_path: Path) -> None:
    """A source folder that is not there is a wrong setting."""
    assert refusal(tmp_path, tmp_path / "nowhere", ConfigurationError) == (
        f"The source folder does not exist. Where: {tmp_path}/nowhere. "
        "Next: correct the parameter source or FLOWS_SHOP_SOURCE."
    )


def test_missing_file(tmp_path: Path) -> None:
    """A folder without the file lists what it has."""
    assert refusal(tmp_path, put(tmp_path / "in", "orders", ORDERS), DataError) == (
        f"raw_orders.csv is not in the source; found there: orders.csv. Where: {tmp_path}/in. "
        "Next: export raw_orders.csv to that folder."
    )


def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """A folder where the file belongs is the operator's business."""
    (tmp_path / "in" / "raw_orders.csv").mkdir(parents=True)
    assert refusal(tmp_path, tmp_path / "in", PlatformError) == (
        f"The source cannot be read: Is a directory. Where: {tmp_path}/in/raw_orders.csv. "
        "Next: check the address and that this account may read it."
    )


def test_unknown_scheme(tmp_path: Path) -> None:
    """A scheme that fsspec does not know is a wrong setting; credentials in it are not shown."""
    assert refusal(tmp_path, "ftpx://me:secret@host/in", ConfigurationError) == (
        "The scheme of the source is unknown. Where: ftpx://host/in/raw_orders.csv. "
        "Next: set the parameter source or FLOWS_SHOP_SOURCE to a folder or an fsspec URL."
    )


def test_missing_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme without its driver names the extra to install."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    assert refusal(tmp_path, "s3://bucket/in", ConfigurationError) == (
        "No driver to read s3:// is installed. Where: s3://bucket/in/raw_orders.csv. "
        "Next: install the extra `s3` of flow-of-flows."
    )


def test_warehouse_folder_that_is_a_file(tmp_path: Path) -> None:
    """A warehouse folder that cannot be made is the operator's business."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "warehouse").write_text("")
    with pytest.raises(PlatformError) as caught:
        load(shop.raw_orders, put(tmp_path / "in", "raw_orders", ORDERS))
    assert str(caught.value).startswith(
        f"raw_orders cannot be written: File exists. Where: {tmp_path}/home/warehouse. "
        "Next: free space or set FLOWS_HOME"
    )


def test_warehouse_file_in_use(tmp_path: Path) -> None:
    """A DuckDB file that another process writes is named."""
    folder = put(tmp_path / "in", "raw_orders", ORDERS)
    load(shop.raw_orders, folder)
    file = tmp_path / "home" / "warehouse" / "raw_orders.duckdb"
    code = f"import duckdb; c = duckdb.connect({str(file)!r}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(PlatformError) as caught:
            load(shop.raw_orders, folder)
        other.communicate(b"\n")
    assert caught.value.location == str(file)
    assert caught.value.hint == "end the other process that has the file open, then run this again"


def test_full_disk(tmp_path: Path) -> None:
    """When the warehouse can no longer grow, the load fails as a whole and the old rows stay."""
    load(shop.raw_orders, put(tmp_path / "good", "raw_orders", ORDERS))
    from flows.ingest.sample import generate

    generate(tmp_path / "large", scale=20)
    file = tmp_path / "home" / "warehouse" / "raw_orders.duckdb"
    limit = file.stat().st_size + 65_536
    code = (
        "import resource; from flows.ingest import shop\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"shop.raw_orders.fn.__wrapped__(source={str(tmp_path / 'large')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "flow_of_flows.errors.PlatformError: " in done.stderr.splitlines()[-1]
    assert "Next: free space or set FLOWS_HOME" in done.stderr.splitlines()[-1]
    assert rows(tmp_path, "raw_orders", "select id from jaffle_shop.raw_orders order by id") == [(1,), (2,)]
