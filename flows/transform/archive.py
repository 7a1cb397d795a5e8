"""What a run leaves in the state store: results in, a run to go on from or production artifacts out. For `build`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from flows.errors import PlatformError
from flows.transform import invoke, state
from flows.transform.arguments import Options
from flows.transform.session import Parsed, Session
from flows.transform.state import SavedRun
from flows.transform.store import Store

logger = logging.getLogger(__name__)

# Selections after which all of production is what the manifest says.
WHOLE = (None, "state:modified+")


@dataclass(frozen=True)
class Archive:
    """The state store, seen from one run; `warn` says what could not be kept."""

    session: Session
    store: Store
    run: UUID
    started: datetime
    warn: Callable[[str], None]

    def describe(self, options: Options) -> SavedRun:
        """What must be the same for this run to be continued."""
        target = self.session.target
        return SavedRun(
            project=self.session.project.fingerprint(),
            target=f"{target.name} {target.describe()} {target.schema}",
            dbt=invoke.version(),
            select=options.select,
            exclude=options.exclude,
            vars=options.vars,
            full_refresh=options.full_refresh,
        )

    def keep(self, results: bytes, options: Options, parsed: Parsed, *, complete: bool) -> bool:
        """Leave what a retry needs under this run's id; a store that fails must not hide why the build did."""
        saved = self.describe(options).model_copy(update={"complete": complete})
        manifest = self.session.artifact(parsed.manifest, state.MANIFEST) or b""
        try:
            state.save_run(self.store, self.run, saved, {state.MANIFEST: manifest, state.RUN_RESULTS: results})
        except PlatformError as error:
            self.warn(f"This run cannot be continued: {error}")
            return False
        return True

    def publish(self, options: Options, parsed: Parsed, files: Mapping[str, bytes | None]) -> None:
        """After a success: replace the production artifacts, and close what earlier tries left.

        Args:
            options: what was built.
            parsed: what it was built from.
            files: content by name, without the manifest; None for what the run did not make.
        """
        if state.read_run(self.store, self.run) is not None:
            done = self.describe(options).model_copy(update={"done": True})
            state.save_run(self.store, self.run, done, {})
        if options.select not in WHOLE or options.exclude is not None:
            logger.info("The production artifacts stay as they are: this run built a part of the project")
            return
        manifest = self.session.artifact(parsed.manifest, state.MANIFEST)
        found = {name: content for name, content in {**files, state.MANIFEST: manifest}.items() if content is not None}
        if not state.publish(self.store, found, self.started):
            self.warn(f"A newer run has published its artifacts to {self.store.describe()}; this run's are not kept")
