"""dbt on one project and target, in the folders of one run: options in, what dbt returned or a `FlowsError` out."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flow_of_flows.dbt import build_flags, failures, runner
from flow_of_flows.dbt.arguments import Command, Options, Paths, arguments, arguments_of_words
from flow_of_flows.dbt.events import DbtProgress
from flow_of_flows.dbt.parsed_project import Parsed
from flow_of_flows.dbt.project import DbtProject, keep_parse, workspace
from flow_of_flows.dbt.repository.git import credentials, unattended
from flow_of_flows.dbt.results import is_operation, one_line
from flow_of_flows.dbt.runner import InvocationResult, Listener, invoke, selectors, variables, version
from flow_of_flows.dbt.state.projects import Owner
from flow_of_flows.dbt.state.publications import Identity
from flow_of_flows.errors import FlowsError, PlatformError
from flow_of_flows.redaction import redact
from flow_of_flows.settings import Settings, dbt_environment, environment
from flow_of_flows.warehouse import dbt_secrets
from flow_of_flows.warehouse.targets import DbtTarget, for_dbt, full_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DbtSession:
    """dbt on one project and target, in the folders of one run.

    Attributes:
        settings: with the secret that `dbt deps` may need.
        variables: what the project reads besides the target's connection.
        source: where the project is from, for the state store; empty for the installation's own.
        is_default: whether the target is the installation's own, too.
    """

    project: DbtProject
    target: DbtTarget
    paths: Paths
    progress: DbtProgress
    settings: Settings
    variables: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    is_default: bool = True

    @classmethod
    @contextlib.contextmanager
    def opened(cls, project: DbtProject, settings: Settings, home: Path) -> Iterator[DbtSession]:
        """Open a session on a project, with dbt's files in a folder of its own; the warehouse is not opened.

        Secrets of the profile are read here, and are gone when the session is closed.

        Args:
            project: the project.
            settings: with the target and the variables of the project.
            home: where dbt's files are kept.

        Raises:
            FlowsError: the target cannot be used, or the folder cannot be written.
        """
        with dbt_secrets.opened(settings) as secrets:
            target = for_dbt(settings, project.folder, secrets)
            with workspace(home, project, full_name(target)) as paths:
                session = cls.on(project, target, paths, settings)
                yield replace(session, variables={**session.variables, **secrets})

    @classmethod
    def on(cls, project: DbtProject, target: DbtTarget, paths: Paths, settings: Settings) -> DbtSession:
        """Return a session in folders that exist.

        Args:
            project: the project.
            target: what dbt connects with.
            paths: the folders of this run.
            settings: with the variables of the project.
        """
        paths = replace(paths, profiles=target.profiles_folder(paths.work))
        return cls(project, target, paths, DbtProgress(), settings, dbt_environment(settings))

    @contextlib.contextmanager
    def explaining(self, warnings: Sequence[str]) -> Iterator[None]:
        """Give an error that leaves the block the warnings so far, and the commit of a project from a repository."""
        try:
            yield
        except FlowsError as error:
            error.warnings += tuple(warnings)
            if error.location is None and self.project.origin is not None:
                error.location = self.project.where
            raise

    @property
    def identity(self) -> Identity:
        """What its manifests are of."""
        return Identity(self.project.name, self.target.adapter, version())

    @property
    def owner(self) -> Owner:
        """Whose production in the state store its artifacts are."""
        mine = self.identity
        is_default = self.is_default and not self.source
        return Owner(
            project=mine.project,
            target=self.target.name,
            adapter=mine.adapter,
            source=self.source,
            is_default=is_default,
        )

    def check(self, options: Options) -> None:
        """Have dbt's parser read the options of a build, before anything of it runs.

        Raises:
            ConfigurationError: dbt refuses one.
        """
        try:
            flags = runner.check(arguments(Command.BUILD, self.paths, options), self._variables)
        except Exception as error:
            refused = build_flags.refused_option(error) or failures.translate(error, self.project, self.target)
            if refused is None:
                raise
            raise refused from error
        if flags.sample is not None and flags.sample.start >= flags.sample.end:
            raise build_flags.refused(f"the sample {options.flags.sample!r} ends before it starts")

    def install_packages(self, options: Options) -> None:
        """Run `dbt deps`, if the project names packages and has none.

        Packages on the host of the project's repository get its credential.
        """
        if self.project.lacks_packages:
            self._fetch_packages(arguments(Command.DEPS, self.paths, options), self.progress)

    def _fetch_packages(self, words: list[str], listener: Listener) -> InvocationResult:
        project = self.project
        helper = credentials(project.origin.host if project.origin else "", self.settings)
        # It runs git for some packages, which must not wait for input at a terminal.
        with unattended(helper, self.settings.repository) as variables, environment(variables):
            ended = self._run(words, listener)
        if ended.exception is not None:
            what = redact(one_line(str(ended.exception)))
            missing = failures.missing_variable(what, project) or helper.error
            raise missing or failures.no_packages(what, project, helper.refused) from ended.exception
        return ended

    def connect(self) -> str | None:
        """Connect with the warehouse (`dbt debug`); what dbt says if it cannot."""
        said: list[str] = []

        def listen(event: Any) -> None:
            if event.info.name == "DebugCmdResult":
                said.append(str(event.data.msg))

        with contextlib.chdir(self.project.folder):
            ended = invoke(
                arguments(Command.DEBUG, self.paths, Options()),
                variables=self._variables,
                listener=listen,
            )
        if ended.exception is not None:
            said.append(str(ended.exception))
        return None if ended.success and ended.exception is None else "\n".join(said)

    def parse(self, options: Options) -> Parsed:
        """Parse the project, or load what was parsed before and parse what changed."""
        ended = self._invoke(Command.PARSE, options)
        self._must(ended, reading=True)
        if pointers := self.project.lfs_pointers(ended.result.nodes.values()):
            raise failures.lfs_pointers(pointers, self.project)
        return Parsed(ended.result, selectors(), variables())

    def keep_parse(self) -> DbtSession:
        """Keep the parsed project for the next run."""
        return replace(self, paths=keep_parse(self.paths))

    def freshness(self, options: Options, parsed: Parsed) -> tuple[bytes | None, dict[str, str]]:
        """Run `dbt source freshness`; its sources.json, None if it made none, and the checks that did not work.

        Args:
            options: with variables and threads.
            parsed: the project.
        """
        ended = self._invoke(Command.FRESHNESS, options, parsed)
        self._must(ended)
        return self.sources(ended)

    def sources(self, ended: InvocationResult) -> tuple[bytes | None, dict[str, str]]:
        """Return the sources.json of a check of freshness, None if it made none, and the checks that did not work."""
        self.progress.forget_hooks()
        results = ended.result.results if ended.result is not None else ()
        broken = {result.node.unique_id: result for result in results if result.status == "runtime error"}
        for result in results:
            if is_operation(result.node.unique_id) and result.status != "success":
                # dbt runs the project's hooks here, too, and writes sources.json without their ends.
                said = redact(one_line(str(result.message)))
                self.progress.warnings.append(f"While the freshness of sources was checked: {said}")
        errors = {name: redact(str(result.message)) for name, result in broken.items()}
        return self.artifact(ended.result, "sources.json"), errors

    def build(self, options: Options, parsed: Parsed) -> bytes:
        """Run `dbt build`; the content of its run_results.json.

        Args:
            options: what to build.
            parsed: the project.
        """
        self.progress.backfill.begin(None)
        ended = self._invoke(Command.BUILD, options, parsed)
        self._must(ended)
        return self.results(ended)

    def retry(self, options: Options, start: bytes) -> bytes:
        """Run `dbt retry` on the run_results.json of an earlier run; the content of the new one.

        Args:
            options: with variables and threads.
            start: the run_results.json to continue.
        """
        previous = self.paths.work / "previous"
        previous.mkdir(exist_ok=True)
        (previous / "run_results.json").write_bytes(start)
        self.progress.backfill.begin(start)
        ended = self._invoke(Command.RETRY, options, previous=previous)
        self._must(ended)
        return self.results(ended)

    def catalog(self, options: Options, parsed: Parsed) -> bytes | None:
        """Run `dbt docs generate`; the content of its catalog.json.

        Args:
            options: with variables.
            parsed: the project.
        """
        ended = self._invoke(Command.DOCS, options, parsed)
        self._must(ended)
        if errors := ended.result.errors:
            what = redact(one_line(errors[0]))
            raise PlatformError(f"The warehouse did not describe its tables: {what}", location=self.target.describe())
        return self.artifact(ended.result, "catalog.json")

    def selected(self, options: Options, parsed: Parsed) -> list[str]:
        """Return the ids of what a build with these options would select (`dbt ls`).

        Args:
            options: what to build.
            parsed: the project.
        """
        ended = self._invoke(Command.LIST, options, parsed)
        self._must(ended, reading=True)
        return [json.loads(line)["unique_id"] for line in ended.result or ()]

    def command(
        self, words: Sequence[str], options: Options, parsed: Parsed | None, listener: Listener
    ) -> InvocationResult:
        """Run a command that a person wrote.

        Args:
            words: the command and its options.
            options: with variables of dbt.
            parsed: the project; None for `deps`, which does not read it.
            listener: takes dbt's events, instead of the progress of this session.
        """
        listed = arguments_of_words(words, self.paths, options)
        if parsed is None:
            return self._fetch_packages(listed, listener)
        ended = self._run(listed, listener, parsed)
        self._must(ended)
        return ended

    def results(self, ended: InvocationResult) -> bytes:
        """Return the content of the run_results.json of an invocation."""
        results = self.artifact(ended.result, "run_results.json") or b""
        return self.progress.batches.complete(self.progress.backfill.complete(results))

    def artifact(self, value: Any, name: str) -> bytes | None:
        """Return what dbt writes for one of its own values; None for no value.

        Args:
            value: dbt's own value.
            name: of the file that dbt writes.
        """
        if value is None:
            return None
        path = self.paths.work / name
        value.write(str(path))
        return path.read_bytes()

    @property
    def _variables(self) -> dict[str, str]:
        return {**self.target.dbt_environment(), **self.variables}

    def _invoke(
        self, command: Command, options: Options, parsed: Parsed | None = None, *, previous: Path | None = None
    ) -> InvocationResult:
        return self._run(arguments(command, self.paths, options, previous=previous), self.progress, parsed)

    def _run(self, words: list[str], listener: Listener, parsed: Parsed | None = None) -> InvocationResult:
        # With a catalogs.yml only dbt's own load of the manifest registers the catalogs with the adapter.
        reuse = parsed is not None and not (self.project.folder / "catalogs.yml").exists()
        # A profile's relative paths are those of a person who runs dbt in the project's folder.
        with contextlib.chdir(self.project.folder):
            return invoke(
                words,
                variables=self._variables,
                listener=listener,
                manifest=parsed.manifest if parsed is not None and reuse else None,
            )

    def _must(self, ended: InvocationResult, *, reading: bool = False) -> None:
        """Raise what ended an invocation before it had results; failed nodes are results.

        Args:
            ended: how the invocation ended.
            reading: it only read the project, so that whatever ended it is in the project.
        """
        if ended.exception is None:
            return
        error = failures.translate(ended.exception, self.project, self.target)
        if error is None and reading and isinstance(ended.exception, Exception):
            logger.debug("dbt cannot read the project", exc_info=ended.exception)
            error = failures.unreadable(ended.exception, self.project)
        if error is None:
            raise ended.exception
        # dbt's traceback leads into dbt; the sentence is what the reader can act on.
        raise error from ended.exception
