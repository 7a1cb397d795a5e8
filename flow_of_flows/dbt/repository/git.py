"""Runs the `git` command: arguments in, what it printed or a `FlowsError` out. No other module runs it.

git runs with an environment and a configuration of its own: none of the machine's, no hooks, no filters, no
submodules, https alone. It is ended when it takes too long, and when this process is interrupted. A token is read when
the host that was named asks for it, and reaches git over a pipe: it is never in an argument list, an environment or a
file.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from flow_of_flows import secrets
from flow_of_flows.dbt.repository.source import Source
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.redaction import redact
from flow_of_flows.secrets import GitHubToken
from flow_of_flows.settings import RepositorySettings, Settings, from_environment

# A shell's own words, so that no argument list ever holds what passes. git hands its question over on standard input,
# and calls again with `store` or `erase`, which is not for us. The pipes are opened by name, under the id of this
# process: Debian's shell takes no descriptor above 9, and a git that dbt starts inherits none.
HELPER = (
    '!f() {{ test "$1" = get || return 0; '
    '{{ while IFS= read -r line; do printf "%s\\n" "$line"; done; echo; }} > /proc/{pid}/fd/{ask}; '
    'while IFS= read -r line && test -n "$line"; do printf "%s\\n" "$line"; done < /proc/{pid}/fd/{hear}; }}; f'
)

# The ways out of a network that every tool reads, and the bundle of certificates.
PASSED_ON = ("PATH", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")
CERTIFICATES = ("GIT_SSL_CAINFO", "SSL_CERT_FILE")
SLOW_BYTES = 1000

# Also for the git that `dbt deps` runs.
UNATTENDED = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_ALLOW_PROTOCOL": "https",
}


@dataclass
class CredentialHelper:
    """Answers git's questions for credentials.

    Attributes:
        host: the one host that gets the token.
        read: looks the token up.
        refused: other hosts that asked, which got nothing.
        error: why there is no token.
    """

    host: str
    read: Callable[[], GitHubToken]
    refused: list[str] = field(default_factory=list)
    error: FlowsError | None = None
    _token: GitHubToken | None = field(default=None, repr=False)

    @contextmanager
    def open(self) -> Iterator[tuple[int, int]]:
        """Descriptors of two pipes for git, to ask and to hear, while the block runs; git has to end before it does."""
        question, ask = os.pipe()
        hear, answer = os.pipe()
        thread = threading.Thread(target=self._serve, args=(question, answer), name="git-credential", daemon=True)
        thread.start()
        try:
            yield ask, hear
        finally:
            os.close(ask)
            thread.join()
            os.close(hear)

    def _serve(self, questions_of: int, answers_to: int) -> None:
        with open(questions_of) as questions, open(answers_to, "w") as answers:
            question: dict[str, str] = {}
            for line in questions:
                if line.strip():
                    name, _, value = line.rstrip("\n").partition("=")
                    question[name] = value
                    continue
                answers.write(self._answer(question))
                answers.flush()
                question = {}

    def _answer(self, question: dict[str, str]) -> str:
        host = question.get("host", "").lower().removesuffix(":443")
        if question.get("protocol") != "https" or host != self.host:
            self.refused.append(host)
            return "quit=1\n\n"
        try:
            self._token = self._token or self.read()
        except FlowsError as error:
            self.error = error
            return "quit=1\n\n"
        return f"username={self._token.username}\npassword={self._token.token.get_secret_value()}\n\n"


def credentials(host: str, settings: Settings) -> CredentialHelper:
    """Return what answers git's questions for credentials.

    Args:
        host: the one host that gets the token, with its port if it has one.
        settings: with the secret of the token.
    """

    def token() -> GitHubToken:
        return secrets.read(settings.secrets.github, GitHubToken, settings.secrets)

    return CredentialHelper(host, token)


@dataclass(frozen=True)
class Git:
    """git for one repository.

    Attributes:
        source: the repository.
        folder: git's home and working directory; of this run alone.
    """

    source: Source
    folder: Path
    settings: RepositorySettings
    helper: CredentialHelper

    def run(self, *arguments: str) -> str:
        """Run a git command.

        Returns:
            What it printed.

        Raises:
            FlowsError: it did not succeed, took too long, or was sent to another host.
        """
        with self.helper.open() as descriptors, self._started(arguments, descriptors) as process:
            try:
                out, said = process.communicate(timeout=self.settings.timeout)
            except subprocess.TimeoutExpired as error:
                raise too_slow(self.source, self.settings.timeout) from error
        found = explain(process.returncode, said, self.source, self.helper)
        if found is not None:
            raise found
        return out

    @contextmanager
    def _started(self, arguments: tuple[str, ...], descriptors: tuple[int, int]) -> Iterator[subprocess.Popen[str]]:
        """The process, with all it starts in a group of its own, which does not outlive the block."""
        try:
            process = subprocess.Popen(  # noqa: S603 - a fixed program; the address and the ref are checked
                ["git", *arguments],  # noqa: S607 - the image's own
                cwd=self.folder,
                env=self._environment(descriptors),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                pass_fds=descriptors,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ConfigurationError(
                "There is no git on this machine", location="PATH", hint="install git, or use the project's image"
            ) from error
        try:
            yield process
        finally:
            _end(process)

    def _environment(self, descriptors: tuple[int, int]) -> dict[str, str]:
        passed = {name: value for name in PASSED_ON if (value := from_environment(name)) is not None}
        return {**passed, **_variables(descriptors, self.settings), "HOME": str(self.folder), "LC_ALL": "C"}


@contextmanager
def unattended(helper: CredentialHelper, settings: RepositorySettings) -> Iterator[Mapping[str, str]]:
    """Yield the environment of a git command that another program starts, such as `dbt deps`.

    Args:
        helper: answers its questions for credentials while the block runs.
        settings: with the certificates to trust and the time limits.
    """
    with helper.open() as descriptors:
        yield _variables(descriptors, settings)


def _variables(descriptors: tuple[int, int], settings: RepositorySettings) -> dict[str, str]:
    """Return the variables that configure git."""
    options = _configuration(descriptors, settings)
    counted = {"GIT_CONFIG_COUNT": str(len(options))}
    for index, (name, value) in enumerate(options.items()):
        counted |= {f"GIT_CONFIG_KEY_{index}": name, f"GIT_CONFIG_VALUE_{index}": value}
    # A variable, for one of the machine would go before the option.
    trusted = settings.ca_file or next(filter(None, map(from_environment, CERTIFICATES)), None)
    return {**UNATTENDED, **counted, **({CERTIFICATES[0]: str(trusted)} if trusted else {})}


def _configuration(descriptors: tuple[int, int], settings: RepositorySettings) -> Mapping[str, str]:
    """Return everything git is configured with."""
    return {
        "credential.helper": HELPER.format(pid=os.getpid(), ask=descriptors[0], hear=descriptors[1]),
        "credential.interactive": "false",
        # To another path of the same host; `explain` refuses another host.
        "http.followRedirects": "initial",
        "http.lowSpeedLimit": str(SLOW_BYTES),
        "http.lowSpeedTime": str(settings.stall),
        "core.hooksPath": os.devnull,
        "core.fsmonitor": "false",
        "submodule.recurse": "false",
        "fetch.recurseSubmodules": "false",
        "maintenance.auto": "false",
        "gc.auto": "0",
        "advice.detachedHead": "false",
        "init.defaultBranch": "main",
    }


def _end(process: subprocess.Popen[str]) -> None:
    """End the group: git's own children are in it, and may be what still holds the connection."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


_REDIRECTED = re.compile(r"^warning: redirecting to (\S+)", re.MULTILINE)
_OTHER_PROTOCOL = re.compile(r'Protocol "?\w+"? (not supported|disabled|is disabled)', re.IGNORECASE)
Family = type[FlowsError]

# What git's words mean, the first that fits: a pattern, who must act, a sentence, what to do.
KNOWN: tuple[tuple[str, Family, str, str], ...] = (
    (
        r"Could not resolve (host|proxy)",
        PlatformError,
        "The name of the git host cannot be resolved",
        "correct the repository's URL, or mend the name service",
    ),
    (
        r"certificate|SSL certificate problem|gnutls_handshake|SSL_ERROR",
        ConfigurationError,
        "The git host's certificate is not trusted",
        "set FLOWS_REPOSITORY_CA_FILE to a file with the certificate of its authority",
    ),
    (
        r"Operation too slow|timed out|Timeout was reached",
        PlatformError,
        "The git host answers too slowly",
        "run it again; FLOWS_REPOSITORY_STALL is how long a transfer may stand still",
    ),
    (
        r"Failed to connect|Could not connect|Connection refused",
        PlatformError,
        "The git host cannot be reached",
        "check that it is up, and that this machine or pod may connect to it",
    ),
    (
        r"Authentication failed|returned error: 401",
        ConfigurationError,
        "The git host does not take the token",
        "replace the token in the secret that FLOWS_SECRETS_GITHUB names",
    ),
    (
        r"returned error: 403",
        ConfigurationError,
        "The token may not read the repository",
        "give it read access to the repository's contents",
    ),
    (
        r"repository '.*' not found|returned error: 404",
        ConfigurationError,
        "There is no such repository, or the token may not see it",
        "correct the repository's URL, or give the token read access to it",
    ),
    (
        r"not our ref|couldn't find remote ref|unadvertised object|unable to parse object|bad object",
        ConfigurationError,
        "The repository has no such commit",
        "correct `ref`; a commit is given by its whole id, and has to be on a branch or a tag",
    ),
    (
        r"not valid: is this a git repository|invalid server response|bad line length|expected service",
        ConfigurationError,
        "What answers there is no git repository",
        "correct the repository's URL",
    ),
    (
        r"returned error: (429|5\d\d)",
        PlatformError,
        "The git host refuses for now",
        "run it again later",
    ),
    (
        r"No space left|Disk quota",
        PlatformError,
        "The repository does not fit on the disk",
        "free space, or give FLOWS_HOME a larger disk",
    ),
    (
        r"early EOF|RPC failed|disconnect|hung up|index-pack|transfer closed|Empty reply|Recv failure|TLS connection",
        PlatformError,
        "The connection to the git host was cut",
        "run it again",
    ),
)


def explain(code: int, said: str, source: Source, helper: CredentialHelper) -> FlowsError | None:
    """Return the error that a git command ended with; None if it succeeded.

    Args:
        code: its exit code.
        said: what it wrote on standard error.
        source: the repository.
        helper: has answered git's questions.
    """
    elsewhere = _elsewhere(said, source, helper)
    if elsewhere is not None:
        return _moved(elsewhere, source)
    if code == 0:
        return None
    if helper.error is not None:
        return helper.error
    reason = _reason(redact(said)) or f"exit code {code}"
    for pattern, family, sentence, todo in KNOWN:
        if re.search(pattern, said, re.IGNORECASE):
            return family(f"{sentence}: {reason}", location=source.describe(), hint=todo)
    return PlatformError(f"git failed: {reason}", location=source.describe(), hint="run it again")


def too_slow(source: Source, seconds: float) -> PlatformError:
    """Return the error of a git command that was ended because it took too long.

    Args:
        source: the repository.
        seconds: the time limit.
    """
    return PlatformError(
        f"git was not done after {seconds:g} s",
        location=source.describe(),
        hint="check the git host; FLOWS_REPOSITORY_TIMEOUT is how long a command may take",
    )


def no_such_ref(source: Source) -> ConfigurationError:
    """Return the error of a branch or a tag that does not exist."""
    if source.ref is None:
        return ConfigurationError(
            "The repository has no default branch", location=source.url, hint="give `ref`, or push a commit to it"
        )
    hint = "correct `ref`"
    if re.fullmatch(r"[0-9a-f]{7,39}", source.ref):
        hint = "give the whole id of the commit: a git host does not serve shortened ones"
    return ConfigurationError(f"The repository has no branch or tag {source.ref!r}", location=source.url, hint=hint)


def _moved(host: str, source: Source) -> ConfigurationError:
    return ConfigurationError(
        f"The git host sends readers to another place, {host}; the token was not sent there",
        location=source.describe(),
        hint="give the repository's new URL, if that is where it has moved to",
    )


def _elsewhere(said: str, source: Source, helper: CredentialHelper) -> str | None:
    """Return the other host that git was sent to."""
    if helper.refused:
        return helper.refused[0] or "one without a name"
    for url in _REDIRECTED.findall(said):
        host: str = urlsplit(url).netloc.rpartition("@")[2].lower().removesuffix(":443")
        if host != source.host:
            return host
    return "one that is not https" if _OTHER_PROTOCOL.search(said) else None


def _reason(said: str) -> str:
    """Return git's last message on one line, without the address, which the error names already."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
    return re.sub(r"^(fatal|error): (unable to access '[^']*': )?", "", fatal)[:300]
