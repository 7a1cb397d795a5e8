"""How a person runs the commands that messages name: settings in, a command line out.

On a cluster a command runs in the worker's pod, which the chart names in FLOWS_COMMAND_PREFIX. Elsewhere it needs the
address of the Prefect API, except on the machine whose embedded server has the run.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from prefect.settings import get_current_settings

from flow_of_flows.home import Home
from flow_of_flows.settings import Settings, from_environment

PROGRAM = "flows"
# uv sets it for what `uv run` starts, and puts the environment's programs on the PATH of that alone.
UV_RUN = "UV_RUN_RECURSION_DEPTH"
# On a cluster a hook of the chart registers, with the values of the release: the worker's pod does not have them.
REGISTER = "run `flows register` (on a cluster: `helm upgrade`)"


@dataclass(frozen=True)
class Terminal:
    """Where a person runs commands.

    Attributes:
        prefix: what comes before each command.
        program: how `flows` is called there.
    """

    prefix: str = ""
    program: str = PROGRAM

    def command(self, words: str) -> str:
        """Return a command line; the words begin with `flows`."""
        words = re.sub(rf"^{PROGRAM}\b", lambda _: self.program, words)
        return f"{self.prefix} {words}" if self.prefix else words


PLAIN = Terminal()


def here(settings: Settings) -> Terminal:
    """Return the terminal of the person who runs this command."""
    return Terminal(settings.command_prefix, PROGRAM if settings.command_prefix else _typed())


def _typed() -> str:
    """Return how a person called this program, `.venv/bin/flows` say; just its name where the shell finds it."""
    if from_environment(UV_RUN):
        return f"uv run {PROGRAM}"
    typed = Path(sys.argv[0])
    if typed.name != PROGRAM or shutil.which(PROGRAM):
        return PROGRAM
    return shlex.quote(str(typed))


def of_readers(settings: Settings) -> Terminal:
    """Return the terminal of people who read a page or an alert: they are not where this process runs."""
    if settings.command_prefix:
        return Terminal(settings.command_prefix)
    api = get_current_settings().api.url
    if not api or api == Home(settings.home).running_api() or urlsplit(api).username:
        return PLAIN
    return Terminal(f"PREFECT_API_URL={api}")
