"""Commands that messages name, as the people who read them can run them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flow_of_flows.settings import Settings
from flow_of_flows.summary.terminal import PLAIN, Terminal, here, of_readers

API = "https://prefect.example.com/api"
WORKER = "kubectl --namespace data exec -it deploy/flows-flow-of-flows-worker --"


def test_on_a_cluster_a_command_runs_in_the_worker_s_pod() -> None:
    """The chart says which: for readers of a page, and for a person in that pod."""
    settings = Settings(command_prefix=WORKER)
    with temporary_settings({PREFECT_API_URL: API}):
        assert of_readers(settings).command("flows resume RUN") == f"{WORKER} flows resume RUN"
        assert here(settings).command("flows resume RUN") == f"{WORKER} flows resume RUN"


def test_elsewhere_readers_get_the_address_of_the_api_and_a_person_at_a_terminal_has_it() -> None:
    """A worker on a machine of its own."""
    with temporary_settings({PREFECT_API_URL: API}):
        assert of_readers(Settings()).command("flows resume RUN") == f"PREFECT_API_URL={API} flows resume RUN"
        assert here(Settings()).command("flows resume RUN") == "flows resume RUN"


def test_a_person_who_typed_uv_run_is_told_to_type_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell does not find `flows` outside of `uv run`."""
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert here(Settings()).command("flows ui") == "uv run flows ui"
    assert here(Settings(command_prefix=WORKER)).command("flows ui") == f"{WORKER} flows ui"


def test_the_run_of_an_embedded_server_is_resumed_where_it_ran(tmp_path: Path) -> None:
    """The address of that server changes with each session."""
    session = {"pid": os.getpid(), "api": "http://127.0.0.1:4321/api"}
    (tmp_path / "session.json").write_text(json.dumps(session))
    with temporary_settings({PREFECT_API_URL: session["api"]}):
        assert of_readers(Settings(home=tmp_path)) == PLAIN


@pytest.mark.parametrize("api", [None, "https://ann:canary@prefect.example.com/api"])
def test_no_command_names_a_password_or_an_address_that_is_not_there(api: str | None) -> None:
    """The plain command is left."""
    with temporary_settings({PREFECT_API_URL: api}):
        assert of_readers(Settings()) == Terminal("")
