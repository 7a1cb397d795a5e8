"""What the dbt child says when its repository is not what it should be: one error, and nothing left on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flow_of_flows.errors import Cause, ConfigurationError, FlowsError, PlatformError
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build
from tests.fixtures.dbt_projects import Place
from tests.fixtures.git_host import TOKEN, GitHost, certificate

NOWFIRST = "0123456789" * 4


@dataclass(frozen=True)
class Case:
    """What is wrong, and what is said.

    Attributes:
        host: what the host does; FIRST and SECOND stand for two names of it.
    """

    family: type[FlowsError]
    sentence: str
    host: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    secret: str = f'{{"token": "{TOKEN}"}}'


CASES: dict[str, Case] = {
    "unknown host": Case(
        PlatformError,
        r"The name of the git host cannot be resolved: Could not resolve host: nowhere\.invalid",
        parameters={"repository": "https://nowhere.invalid/x.git"},
    ),
    "nobody listens": Case(
        PlatformError,
        r"The git host cannot be reached: Failed to connect to 127\.0\.0\.1 port 9",
        parameters={"repository": "https://127.0.0.1:9/x.git"},
    ),
    "wrong token": Case(
        ConfigurationError,
        r"The git host does not take the token: Authentication failed for",
        secret='{"token": "canary-wrong"}',
    ),
    "token without the right": Case(
        ConfigurationError,
        r"The token may not read the repository: The requested URL returned error: 403",
        host={"status": 403},
    ),
    "malformed secret": Case(
        ConfigurationError,
        r"The secret terraform/github-token is malformed: token: Field required",
        secret="{}",
    ),
    "no such repository": Case(
        ConfigurationError,
        r"There is no such repository, or the token may not see it: repository '.*' not found",
        parameters={"repository": "FIRST/another.git"},
    ),
    "no such branch": Case(
        ConfigurationError, r"The repository has no branch or tag 'nowhere'", parameters={"ref": "nowhere"}
    ),
    "a shortened commit": Case(
        ConfigurationError, r"The repository has no branch or tag 'abcdef1'", parameters={"ref": "abcdef1"}
    ),
    "no such commit": Case(
        ConfigurationError,
        rf"The repository has no such commit: .*not our ref {NOWFIRST}",
        parameters={"ref": NOWFIRST},
    ),
    "no repository at all": Case(
        ConfigurationError,
        r"There is no such repository, or the token may not see it: repository '.*' not found",
        host={"status": 404},
    ),
    "throttled": Case(
        PlatformError, r"The git host refuses for now: The requested URL returned error: 429", host={"status": 429}
    ),
    "out of order": Case(
        PlatformError, r"The git host refuses for now: The requested URL returned error: 503", host={"status": 503}
    ),
    "hangs": Case(
        PlatformError, r"git was not done after 1\.5 s", host={"hang": 60}, settings={"FLOWS_REPOSITORY_TIMEOUT": "1.5"}
    ),
    "stands still": Case(
        PlatformError,
        r"The git host answers too slowly: .*Operation too slow",
        host={"slow": 60},
        settings={"FLOWS_REPOSITORY_STALL": "1"},
    ),
    "cut half-way": Case(PlatformError, r"The connection to the git host was cut: ", host={"cut": 300}),
    "certificate not trusted": Case(
        ConfigurationError,
        r"The git host's certificate is not trusted: server certificate verification failed",
        settings={"FLOWS_REPOSITORY_CA_FILE": "another.pem"},
    ),
    "sent to another host": Case(
        ConfigurationError,
        r"The git host sends readers to another place, 127\.0\.0\.1:\d+; the token was not sent there",
        host={"redirect": ("FIRST", "SECOND")},
    ),
    "sent to another host that asks for nothing": Case(
        ConfigurationError,
        r"The git host sends readers to another place, 127\.0\.0\.1:\d+; the token was not sent there",
        host={"redirect": ("FIRST", "SECOND"), "token": False},
    ),
    "sent to http": Case(
        ConfigurationError,
        r"The git host sends readers to another place, one that is not https; the token was not sent there",
        host={"redirect": ("FIRST", "http://127.0.0.1:9")},
    ),
    "no dbt project in it": Case(
        ConfigurationError, r"The dbt project has no dbt_project\.yml", parameters={"subfolder": "models"}
    ),
    "no such folder": Case(
        ConfigurationError, r"The repository has no folder 'nowhere'", parameters={"subfolder": "nowhere"}
    ),
    "does not parse": Case(
        ConfigurationError,
        r"dbt refused the project: Compilation Error in model first \(models/first.sql\)",
        files={"models/first.sql": "select {{ nope("},
    ),
    "packages that do not exist": Case(
        ConfigurationError,
        r"The project's packages cannot be installed: .*nowhere",
        files={"packages.yml": "packages:\n  - local: ../nowhere"},
    ),
    "packages out of reach": Case(
        PlatformError,
        r"The project's packages cannot be fetched: .*127\.0\.0\.1",
        files={"packages.yml": "packages:\n  - git: https://127.0.0.1:9/x.git\n    revision: main"},
    ),
    "packages elsewhere": Case(
        ConfigurationError,
        r"The packages-install-path leads out of the repository",
        files={"dbt_project.yml": f"{dbt_projects.PROJECT}packages-install-path: ../../../warehouse\n"},
    ),
}


@pytest.fixture
def told(git_host: GitHost, git_token: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], dict[str, str]]:
    """Has host and settings be as a case wants them; the parameters of the run."""

    def tell(case: Case) -> dict[str, str]:
        def real(text: str) -> str:
            return text.replace("FIRST", git_host.url("")[:-1]).replace("SECOND", git_host.url("", "127.0.0.1")[:-1])

        for name, value in case.host.items():
            setattr(git_host, name, tuple(map(real, value)) if isinstance(value, tuple) else value)
        for name, value in case.settings.items():
            monkeypatch.setenv(name, str(git_token.parent / value) if name.endswith("FILE") else value)
        git_token.write_text(case.secret)
        return {"repository": git_host.url(), **{name: real(value) for name, value in case.parameters.items()}}

    return tell


@pytest.mark.parametrize("name", CASES)
def test_one_clear_error_and_nothing_left(
    place: Place,
    git_host: GitHost,
    git_token: Path,
    told: Callable[[Case], dict[str, str]],
    name: str,
) -> None:
    """Its family, its sentence, where and what to do; no checkout stays, and no other host has seen the token."""
    case = CASES[name]
    certificate(git_token.parent / "another.pem")
    git_host.serve(place.use({**dbt_projects.CHAIN, **case.files}))

    with pytest.raises(FlowsError) as failure:
        build(**told(case))

    error = failure.value
    assert type(error) is case.family
    assert re.match(case.sentence, error.message), error.message
    assert error.location
    assert error.hint
    assert error.cause is (Cause.PLATFORM if case.family is PlatformError else Cause.CONFIGURATION)
    assert not list(place.home.glob("repositories/*"))
    assert not list(place.home.glob("dbt/*/run-*"))
    assert [asked for asked in git_host.asked if asked.authorization and not asked.host.startswith("localhost")] == []


LINKS = {
    "The subfolder 'dbt' leads out of the repository": ("dbt", "/etc"),
    "The link dbt/models/first.sql leads out of the repository": ("dbt/models/first.sql", "/proc/self/environ"),
}


@pytest.mark.parametrize("sentence", LINKS)
@pytest.mark.usefixtures("git_token")
def test_links_do_not_lead_out(place: Place, git_host: GitHost, tmp_path: Path, sentence: str) -> None:
    """Neither the project's folder nor a file in it may be one of the machine's."""
    link, target = LINKS[sentence]
    tree = tmp_path / "tree"
    (tree / link).parent.mkdir(parents=True)
    (tree / link).symlink_to(target)
    git_host.serve(tree)

    with pytest.raises(ConfigurationError) as failure:
        build(repository=git_host.url(), subfolder="dbt")

    assert failure.value.message == sentence
    assert not list(place.home.glob("repositories/*"))


def test_no_git_on_the_machine(
    place: Place, git_host: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of one's own may lack it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError) as failure:
        build(repository=git_host.url())
    assert failure.value.message == "There is no git on this machine"
    assert not list(place.home.glob("repositories/*"))
