"""Which Prefect API a command uses, and what it says of one that is away, refuses it, or is none."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import pytest

from flow_of_flows.errors import ExitCode
from tests.commands import FLOWS, NOBODY, Ended, environment, flows, refused, running
from tests.fixtures.broken_front import answering, intercepting
from tests.fixtures.http_server import Request, Response
from tests.fixtures.pods import Pod
from tests.fixtures.proxy import CountingProxy
from tests.fixtures.server import Embedded


def test_local_asks_for_the_embedded_server(embedded: Embedded) -> None:
    """Though an API is configured: the run of that API is unknown there."""
    run = embedded.start("work")
    shown = flows("resume", str(run), "--local", PREFECT_API_URL=embedded.api)
    assert shown.code == 2
    assert re.fullmatch(
        rf"error: There is no run {run}\. Where: http://127\.0\.0\.1:\d+/api/\. "
        r"Next: copy the id from the run's page\.\n",
        shown.err,
    )
    assert embedded.api not in shown.err


@pytest.mark.parametrize("where", ["profile", "prefect.toml", "environment"])
def test_the_api_may_be_configured_wherever_prefect_reads_its_settings(
    embedded: Embedded, tmp_path: Path, where: str
) -> None:
    """The active profile, a settings file of the folder, or the environment."""
    profiles = tmp_path / "profiles.toml"
    texts = {
        "profile": f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{embedded.api}"\n',
        "prefect.toml": f'[api]\nurl = "{embedded.api}"\n',
    }
    if text := texts.get(where):
        (profiles if where == "profile" else tmp_path / where).write_text(text)
    variables = {"PREFECT_API_URL": embedded.api} if where == "environment" else {}
    done = subprocess.run(
        [FLOWS, "report", NOBODY],
        env=environment(PREFECT_PROFILES_PATH=str(profiles), **variables),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    message = f"There is no run {NOBODY}. Where: {embedded.api}/. Next: copy the id from the run's page."
    assert Ended(done.returncode, done.stdout, done.stderr) == refused(2, message)


@pytest.mark.parametrize("words", ["run diamond", f"resume {NOBODY}", f"report {NOBODY}"])
def test_an_api_that_does_not_answer_is_said_in_one_sentence(words: str) -> None:
    """Exit code 3, and no server of this folder takes its place."""
    shown = flows(*words.split(), PREFECT_API_URL="http://127.0.0.1:9/api")
    assert (shown.code, shown.out) == (3, "")
    assert shown.err.splitlines()[-1] == (
        "error: The Prefect API did not answer for 10 s: All connection attempts failed. "
        "Where: http://127.0.0.1:9/api. Next: start the API, or correct PREFECT_API_URL; then run this again."
    )


@pytest.mark.parametrize("words", ["run diamond", f"resume {NOBODY}", f"report {NOBODY}"])
def test_an_api_that_refuses_the_credentials_is_said_in_one_sentence(embedded: Embedded, words: str) -> None:
    """Exit code 2, at once."""
    with answering(embedded.api, status=401, method="POST", path="/work_pools/") as api:
        assert flows(*words.split(), PREFECT_API_URL=api) == refused(
            ExitCode.CONFIGURATION,
            f"The Prefect API does not know these credentials: it is broken. Where: {api}. Next: correct "
            "PREFECT_API_AUTH_STRING (a server's user:password) or PREFECT_API_KEY (Prefect Cloud).",
        )


@pytest.mark.parametrize("words", ["run diamond", f"resume {NOBODY}", f"report {NOBODY}"])
def test_an_address_that_is_no_prefect_api_is_said_in_one_sentence(embedded: Embedded, words: str) -> None:
    """The UI answers where /api is missing."""
    address = embedded.api.removesuffix("/api")
    assert flows(*words.split(), PREFECT_API_URL=address) == refused(
        2, f"This is not a Prefect API. Where: {address}. Next: correct PREFECT_API_URL; it usually ends with /api."
    )


def test_an_api_that_is_away_for_a_while_is_waited_for(pod: Pod, proxy: CountingProxy, tmp_path: Path) -> None:
    """It is said once that it is away and once that it is back; the run is shown to its end."""
    go = tmp_path / "go"
    words = ("run", "diamond", "--set", f"left.await_file={go}")
    with running(tmp_path, *words, PREFECT_API_URL=proxy.api) as command:
        command.says("left: running")
        proxy.fail()
        command.says("The Prefect API does not answer (")
        proxy.mend()
        command.says("The Prefect API answers again.")
        go.touch()
        ended = command.ended()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("The Prefect API does not answer (") == 1
    assert "# diamond completed\n" in ended.out
    assert pod.started == []


def test_an_api_that_asks_to_wait_is_asked_again_later(embedded: Embedded) -> None:
    """One of three requests is answered with 429, which is not a failure."""
    turns = itertools.count()

    def refuse(_: Request) -> Response | None:
        if next(turns) % 3:
            return None
        return Response(429, b'{"detail": "too many requests"}', {"retry-after": "0.1"})

    with intercepting(embedded.api, refuse) as api:
        shown = flows("run", "work", PREFECT_API_URL=api)
    assert shown.code == 0
    assert "# work completed\n" in shown.out
