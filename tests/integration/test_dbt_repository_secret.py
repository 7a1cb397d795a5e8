"""Where the token is while a repository is fetched: in no argument list, environment, log or file; and SIGTERM."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.conditions import eventually
from tests.fixtures.dbt_builds import build, started, wait_for
from tests.fixtures.dbt_projects import Place
from tests.fixtures.git_host import AUTHORIZED, TOKEN, GitHost

FORMS = tuple(form.encode() for form in (TOKEN, AUTHORIZED.removeprefix("Basic ")))
SLOW = "dbt_build.fn.__wrapped__(repository={!r})"


def family(pid: int) -> list[int]:
    """A process and all that came of it."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += family(int(child))
    return found


def shown(pid: int) -> bytes:
    """What anybody who may look at a process sees of it."""
    try:
        return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    except (FileNotFoundError, ProcessLookupError):
        return b""


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def holding(seen: dict[str, bytes]) -> list[str]:
    """What holds the token in any form."""
    return [name for name, content in seen.items() if any(form in content for form in FORMS)]


@pytest.mark.usefixtures("git_token")
def test_the_token_is_nowhere_to_be_seen(place: Place, git_host: GitHost) -> None:
    """Looked at all the time while a slow fetch runs, and afterwards."""
    git_host.serve(place.use())
    git_host.slow = 2
    seen: dict[str, bytes] = {}
    programs: set[bytes] = set()

    with started(SLOW.format(git_host.url())) as process:
        while process.poll() is None and not list(place.home.glob("repositories/*/tree/dbt_project.yml")):
            for pid in family(process.pid):
                if content := shown(pid):
                    seen[f"{pid} {hash(content)}"] = content
                    programs.add(content.partition(b"HOME=")[0])
            seen |= files(place.home / "repositories")
            time.sleep(0.01)
        seen |= files(place.home / "repositories")
        output = process.communicate(timeout=120)[0]

    assert process.returncode == 0, output
    assert any(b"remote-https" in program for program in programs)
    assert AUTHORIZED in {asked.authorization for asked in git_host.asked}
    seen |= {"output": output.encode(), **files(place.home)}
    assert holding(seen) == []


@pytest.mark.usefixtures("git_token")
def test_a_debug_log_does_not_hold_it_either(place: Place, git_host: GitHost, caplog: pytest.LogCaptureFixture) -> None:
    """Also with every logger at its most talkative."""
    git_host.serve(place.use())
    with caplog.at_level("DEBUG"):
        report = build(repository=git_host.url())
    assert holding({"log": caplog.text.encode(), "report": report.model_dump_json().encode()}) == []


@pytest.mark.usefixtures("git_token")
def test_sigterm_while_it_is_fetched_leaves_nothing(place: Place, git_host: GitHost) -> None:
    """Neither a process nor a file, and the process ends by the signal at once."""
    git_host.serve(place.use())
    git_host.slow = 60

    with started(SLOW.format(git_host.url())) as process:
        fetching = eventually(lambda: [pid for pid in family(process.pid)[1:] if b"fetch" in shown(pid)], "git fetches")
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=20)[0]

    assert process.returncode == -signal.SIGTERM, output
    eventually(lambda: not any(shown(pid) for pid in fetching), "git ends")
    assert list((place.home / "repositories").iterdir()) == []


@pytest.mark.usefixtures("git_token")
def test_sigterm_while_it_is_built_leaves_nothing(place: Place, git_host: GitHost) -> None:
    """The checkout goes with the run."""
    endless = "select sum(a.i * b.i) as n from range(10000000) a(i), range(10000000) b(i)"
    git_host.serve(place.use({"models/endless.sql": endless}))

    with started(SLOW.format(git_host.url())) as process:
        wait_for(process, "START sql table model analytics.endless")
        assert len(list((place.home / "repositories").iterdir())) == 1
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=30)[0]

    assert process.returncode == -signal.SIGTERM, output
    assert list((place.home / "repositories").iterdir()) == []
