"""What can be asked for as a repository, and what is refused without a word of it."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from flow_of_flows.dbt.repository.source import Source, choose
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import RepositorySettings

URL = "https://git.example.com/team/dbt.git"
NONE = RepositorySettings()
HOLDS_MORE = "The repository's URL holds more than an address, such as a user or a token"
NOT_HTTPS = "The repository's URL is not https"
NO_HOST = "The repository's URL has no host or no path"

REFUSED: dict[str, tuple[dict[str, str], str, str]] = {
    "a token in the URL": ({"repository": "https://canary@git.example.com/x"}, HOLDS_MORE, "parameter repository"),
    "user and password": ({"repository": "https://me:canary@git.example.com/x"}, HOLDS_MORE, "parameter repository"),
    "a password, not https": ({"repository": "http://me:canary@git.example.com/x"}, HOLDS_MORE, "parameter repository"),
    "a token as query": ({"repository": f"{URL}?token=canary"}, HOLDS_MORE, "parameter repository"),
    "a fragment": ({"repository": f"{URL}#canary"}, HOLDS_MORE, "parameter repository"),
    "http": ({"repository": "http://git.example.com/canary"}, NOT_HTTPS, "parameter repository"),
    "ssh": ({"repository": "git@git.example.com:team/canary.git"}, NOT_HTTPS, "parameter repository"),
    "a file": ({"repository": "file:///srv/canary.git"}, NOT_HTTPS, "parameter repository"),
    "a path": ({"repository": "/srv/canary.git"}, NOT_HTTPS, "parameter repository"),
    "an option": ({"repository": "--upload-pack=canary"}, NOT_HTTPS, "parameter repository"),
    "git's own remote helpers": ({"repository": "ext::sh -c canary"}, NOT_HTTPS, "parameter repository"),
    "a port that is none": ({"repository": "https://git.example.com:canary/x"}, NOT_HTTPS, "parameter repository"),
    "no path": ({"repository": "https://git.example.com/"}, NO_HOST, "parameter repository"),
    "no host": ({"repository": "https:///canary"}, NO_HOST, "parameter repository"),
    "a space": ({"repository": "https://git.example.com/a canary"}, NO_HOST, "parameter repository"),
    "a ref alone": ({"ref": "main"}, "A ref or a subfolder is given, but no repository", "parameters of dbt-build"),
    "an option as ref": (
        {"repository": URL, "ref": "--exec=x"},
        "'--exec=x' cannot be the name of a branch, a tag or a commit",
        "ref",
    ),
    "a pattern as ref": (
        {"repository": URL, "ref": "rel*"},
        "'rel*' cannot be the name of a branch, a tag or a commit",
        "ref",
    ),
    "a range as ref": (
        {"repository": URL, "ref": "a..b"},
        "'a..b' cannot be the name of a branch, a tag or a commit",
        "ref",
    ),
    "a folder above": (
        {"repository": URL, "subfolder": "dbt/../../x"},
        "The subfolder 'dbt/../../x' leads out of the repository",
        "subfolder",
    ),
    "an absolute folder": (
        {"repository": URL, "subfolder": "/etc"},
        "The subfolder '/etc' leads out of the repository",
        "subfolder",
    ),
}


def asked(settings: RepositorySettings, **parameters: str) -> Source | None:
    """What a run with these parameters asks for."""
    given = {"repository": None, "ref": None, "subfolder": None} | parameters
    return choose(given["repository"], given["ref"], given["subfolder"], settings)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fetched_is_refused_and_never_repeated(case: str) -> None:
    """The sentence names the parameter; what may be a secret is not in it."""
    parameters, sentence, where = REFUSED[case]
    with pytest.raises(ConfigurationError) as failure:
        asked(NONE, **parameters)
    assert (failure.value.message, failure.value.location) == (sentence, where)
    assert failure.value.hint
    assert "canary" not in str(failure.value)


def test_a_setting_with_a_token_is_refused_and_named() -> None:
    """By its variable; neither the message nor a print of the settings repeats it."""
    settings = RepositorySettings(url="https://canary@git.example.com/x")
    with pytest.raises(ConfigurationError) as failure:
        asked(settings)
    assert failure.value.location == "FLOWS_REPOSITORY_URL"
    assert "canary" not in str(failure.value) + repr(settings)


def test_parameters_go_before_settings() -> None:
    """Ref and folder of the settings belong to the settings' repository."""
    settings = RepositorySettings(url=URL, ref="production", subfolder="dbt")
    other = "https://git.example.com/another"
    folder = PurePosixPath("dbt")
    assert asked(NONE) is None
    assert asked(NONE, repository=" ", ref="") is None
    assert asked(settings) == Source(URL, "git.example.com", "production", folder)
    assert asked(settings, ref="feature/x") == Source(URL, "git.example.com", "feature/x", folder)
    assert asked(settings, repository=URL) == Source(URL, "git.example.com", "production", folder)
    assert asked(settings, repository=other) == Source(other, "git.example.com")


def test_the_host_is_named_as_git_names_it() -> None:
    """With its port, if that is not the usual one."""
    hosts = [asked(NONE, repository=url) for url in ("https://Git.example.com:443/x", "https://[::1]:8443/x")]
    assert [source.host for source in hosts if source] == ["git.example.com", "[::1]:8443"]
