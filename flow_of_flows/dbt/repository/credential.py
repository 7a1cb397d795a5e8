"""How git gets the token: git's question in, the token over a pipe out, and only for the host that was named.

The token is read when a host asks for it, and is never in an argument list, an environment or a file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flow_of_flows.errors import FlowsError
from flow_of_flows.secrets import GitHubToken

# A shell's own words, so that no argument list ever holds what passes. git hands its question over on standard input,
# and calls again with `store` or `erase`, which is not for us. The pipes are opened by name: Debian's shell takes no
# descriptor above 9.
HELPER = (
    '!f() {{ test "$1" = get || return 0; '
    '{{ while IFS= read -r line; do printf "%s\\n" "$line"; done; echo; }} > /proc/self/fd/{ask}; '
    'while IFS= read -r line && test -n "$line"; do printf "%s\\n" "$line"; done < /proc/self/fd/{hear}; }}; f'
)


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
