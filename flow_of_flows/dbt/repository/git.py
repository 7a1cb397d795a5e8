"""The one door to the `git` command: arguments in, what it printed or a `FlowsError` out.

git runs with an environment and a configuration of its own: none of the machine's, no hooks, no filters, no
submodules, https alone. It is ended when it takes too long, and when this process is interrupted.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flow_of_flows.dbt.repository import git_errors as trouble
from flow_of_flows.dbt.repository.credential import HELPER, Desk
from flow_of_flows.dbt.repository.source import Source
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import RepositorySettings, from_environment

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
    desk: Desk

    def run(self, *arguments: str) -> str:
        """Run a git command.

        Returns:
            What it printed.

        Raises:
            FlowsError: it did not succeed, took too long, or was sent to another host.
        """
        with self.desk.open() as descriptors, self._started(arguments, descriptors) as process:
            try:
                out, said = process.communicate(timeout=self.settings.timeout)
            except subprocess.TimeoutExpired as error:
                raise trouble.too_slow(self.source, self.settings.timeout) from error
        found = trouble.explain(process.returncode, said, self.source, self.desk)
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
                "There is no git on this machine", where="PATH", todo="install git, or use the project's image"
            ) from error
        try:
            yield process
        finally:
            _end(process)

    def _environment(self, descriptors: tuple[int, int]) -> dict[str, str]:
        passed = {name: value for name in PASSED_ON if (value := from_environment(name)) is not None}
        options = _configuration(descriptors, self.settings)
        counted = {"GIT_CONFIG_COUNT": str(len(options))}
        for index, (name, value) in enumerate(options.items()):
            counted |= {f"GIT_CONFIG_KEY_{index}": name, f"GIT_CONFIG_VALUE_{index}": value}
        return {**passed, **UNATTENDED, "HOME": str(self.folder), "LC_ALL": "C", **counted}


def _configuration(descriptors: tuple[int, int], settings: RepositorySettings) -> Mapping[str, str]:
    """Everything git is configured with."""
    trusted = settings.ca_file or next(filter(None, map(from_environment, CERTIFICATES)), None)
    return {
        "credential.helper": HELPER.format(ask=descriptors[0], hear=descriptors[1]),
        "credential.interactive": "false",
        # To another path of the same host; `trouble` refuses another host.
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
        **({"http.sslCAInfo": str(trusted)} if trusted else {}),
    }


def _end(process: subprocess.Popen[str]) -> None:
    """End the group: git's own children are in it, and may be what still holds the connection."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
