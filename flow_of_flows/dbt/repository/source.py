"""Which repository, ref and folder a run asks for: parameters and settings in, a checked `Source` out. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import SplitResult, urlsplit

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import RepositorySettings

COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# What git's own rules leave of a ref's name (`git help check-ref-format`), and nothing that could be an option.
_REF = re.compile(r"(?!-)(?!.*(\.\.|//|@\{))[^\x00-\x20\x7f~^:?*\[\\]+(?<![./])")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
ROOT = PurePosixPath()
LEAKED = ". A token that was in a parameter is in Prefect's database: replace it"


@dataclass(frozen=True)
class Source:
    """A dbt project in a git repository.

    Attributes:
        url: https, without credentials.
        host: host of the URL, with its port if it has one, as git names it.
        ref: branch, tag or commit; None for the default branch.
        subfolder: folder of the project in the repository.
    """

    url: str
    host: str
    ref: str | None = None
    subfolder: PurePosixPath = ROOT

    @property
    def is_commit(self) -> bool:
        """Whether the ref is the whole id of a commit."""
        return self.ref is not None and COMMIT.fullmatch(self.ref) is not None

    @property
    def address(self) -> str:
        """The repository, and the folder in it."""
        return f"{self.url}, folder {self.subfolder}" if self.subfolder.parts else self.url

    def describe(self, commit: str | None = None) -> str:
        """Return for people where the project is, at a commit once it is known."""
        at = f" at {commit or self.ref}" if commit or self.ref else ""
        return f"{self.address}{at}"


def choose(
    repository: str | None, ref: str | None, subfolder: str | None, settings: RepositorySettings
) -> Source | None:
    """Return what a run asks for; None for the project of the image.

    The settings' ref and subfolder belong to the settings' repository: they do not count for another one.

    Args:
        repository: https URL, from the parameters of the run.
        ref: branch, tag or commit, from the parameters.
        subfolder: folder of the dbt project, from the parameters.
        settings: what counts where the parameters are not set.

    Raises:
        ConfigurationError: it is nothing that can be fetched.
    """
    own, ref, subfolder = _given(repository), _given(ref), _given(subfolder)
    url, where = (own, "parameter repository") if own else (settings.url, "FLOWS_REPOSITORY_URL")
    if url is None:
        if ref or subfolder:
            raise ConfigurationError(
                "A ref or a subfolder is given, but no repository",
                location="parameters of dbt-build",
                hint="give `repository`, too, or set FLOWS_REPOSITORY_URL",
            )
        return None
    if url == settings.url:
        ref, subfolder = ref or settings.ref, subfolder or settings.subfolder
    parts = _checked(url, where)
    return Source(url, parts.netloc.lower().removesuffix(":443"), _ref(ref), _folder(subfolder))


def of_url(url: str, where: str) -> Source:
    """Return the default branch of a repository.

    Args:
        url: https address without credentials.
        where: what gave the address, for messages.

    Raises:
        ConfigurationError: it is nothing that can be fetched.
    """
    parts = _checked(url, where, leaked="")
    return Source(url, parts.netloc.lower().removesuffix(":443"))


def _given(text: str | None) -> str | None:
    return (text or "").strip() or None


def _checked(url: str, where: str, *, leaked: str = LEAKED) -> SplitResult:
    """Return the parts of the URL. No message repeats it: it may hold what it must not."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), None
    if parts.scheme and ("@" in parts.netloc or parts.query or parts.fragment):
        raise ConfigurationError(
            "The repository's URL holds more than an address, such as a user or a token",
            location=where,
            hint=f"take it out; the token belongs into the secret that FLOWS_SECRETS_GITHUB names{leaked}",
        )
    if parts.scheme != "https":
        raise ConfigurationError(
            "The repository's URL is not https",
            location=where,
            hint="give it as https://host/owner/name.git; ssh, http and files are not taken",
        )
    host = parts.netloc.lower().removesuffix(f":{port}")
    if not _HOST.fullmatch(host) or not parts.path.strip("/") or re.search(r"[\x00-\x20\x7f\\]", url):
        raise ConfigurationError(
            "The repository's URL has no host or no path",
            location=where,
            hint="give it as https://host/owner/name.git",
        )
    return parts


def _ref(ref: str | None) -> str | None:
    if ref is not None and not _REF.fullmatch(ref):
        raise ConfigurationError(
            f"{ref!r} cannot be the name of a branch, a tag or a commit", location="ref", hint="correct `ref`"
        )
    return ref


def _folder(subfolder: str | None) -> PurePosixPath:
    folder = PurePosixPath(subfolder or "")
    if folder.is_absolute() or ".." in folder.parts or folder.parts[:1] == (".git",) or "\0" in str(folder):
        raise ConfigurationError(
            f"The subfolder {str(folder)!r} leads out of the repository",
            location="subfolder",
            hint="give it relative to the repository's root, such as teams/finance/dbt",
        )
    return folder
