"""Runs one step of a workflow: its script, its variables and stand-ins for the tools it calls in, what it did out."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.commands import REPOSITORY

# Writes down how it was called, then does what the test says for its name and first word.
STAND_IN = """\
#!/bin/bash
name=$(basename "$0")
echo "$name $*" >> "$RUNNER_TEMP/calls"
if [ -e "$RUNNER_TEMP/answers/$name $1" ]; then . "$RUNNER_TEMP/answers/$name $1"; fi
"""
TOOLS = ("aws", "cosign", "dbt", "docker", "flows", "gh", "helm", "kubectl", "uv")


@dataclass(frozen=True)
class Done:
    """One step: its exit status, what it printed, and its outputs."""

    status: int
    printed: str
    outputs: dict[str, str]

    @property
    def errors(self) -> list[str]:
        """What people see at the top of the run's page."""
        return re.findall(r"^::error::(.*)$", self.printed, flags=re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """A job on a machine of its own.

    `context` has values of expressions by their path (`vars.NAMESPACE`); what it lacks is empty, as on GitHub.
    `answers` has bash by tool and first word (`helm test`). `checkout` is where the steps run.
    """

    workflow: str
    name: str
    temp: Path
    context: Mapping[str, str]
    answers: Mapping[str, str] = field(default_factory=dict)
    checkout: Path = REPOSITORY

    @property
    def calls(self) -> list[str]:
        """Every command line of a tool so far."""
        calls = self.temp / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def step(self, name: str) -> dict[str, Any]:
        """A step as the workflow has it."""
        (found,) = [step for step in self._body["steps"] if step.get("name") == name]
        return dict(found)

    @property
    def last_step(self) -> str:
        """The name of the job's last step."""
        return str(self._body["steps"][-1]["name"])

    def run(self, name: str, variables: Mapping[str, str] | None = None) -> Done:
        """Run a step, with more variables of the runner."""
        step = self.step(name)
        outputs = self.temp / "outputs"
        outputs.write_text("")
        script = self.temp / "script.sh"
        script.write_text(step["run"])
        shell = self._workflow["defaults"]["run"]["shell"]
        done = subprocess.run(
            shell.replace("{0}", str(script)).split(),
            cwd=self.checkout / step.get("working-directory", ""),
            env={
                "PATH": f"{self._tools()}{os.pathsep}{os.environ['PATH']}",
                "RUNNER_TEMP": str(self.temp),
                "GITHUB_OUTPUT": str(outputs),
                **self._values({**self._body.get("env", {}), **step.get("env", {})}),
                **(variables or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        written = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
        return Done(done.returncode, done.stdout, written)

    @property
    def _workflow(self) -> dict[str, Any]:
        return dict(yaml.safe_load((REPOSITORY / ".github/workflows" / f"{self.workflow}.yml").read_text()))

    @property
    def _body(self) -> dict[str, Any]:
        return dict(self._workflow["jobs"][self.name])

    def _tools(self) -> Path:
        tools, answers = self.temp / "tools", self.temp / "answers"
        for folder in (tools, answers):
            folder.mkdir(exist_ok=True)
        for tool in TOOLS:
            (tools / tool).write_text(STAND_IN)
            (tools / tool).chmod(0o755)
        for call, script in self.answers.items():
            (answers / call).write_text(script)
        return tools

    def _values(self, env: Mapping[str, str]) -> dict[str, str]:
        return {name: re.sub(r"\$\{\{ *(.+?) *\}\}", self._value, str(text)) for name, text in env.items()}

    def _value(self, expression: re.Match[str]) -> str:
        """Of a path, or of a path with a default: `vars.NAMESPACE || 'flows'`."""
        for term in expression[1].split(" || "):
            if value := term.strip("'") if term.startswith("'") else self.context.get(term, ""):
                return value
        return ""
