"""A dlt workspace for one load: settings in, a temporary folder out, nothing left behind.

dlt looks for settings in the environment, the current folder and the home folder, and keeps pipelines in the home
folder. A child must depend on none of them: it restores its state from the warehouse.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SETTINGS: dict[str, Any] = {
    "runtime": {
        "dlthub_telemetry": False,
        # Failures are translated to one sentence by `failure`; dlt's own log would add a traceback each time.
        "log_level": "CRITICAL",
        # SIGTERM belongs to Prefect, which ends the run at once; dlt would first finish its jobs.
        "intercept_signals": False,
    },
    # One source and a few files: a pool of processes or of 20 threads only costs time.
    "extract": {"workers": 1},
    # Its files live for a second on this disk; compressing them takes a fifth of the time.
    "normalize": {"workers": 1, "data_writer": {"disable_compression": True}},
    "load": {"workers": 2},
}


@contextmanager
def workspace() -> Iterator[str]:
    """Run dlt with these settings only, in a folder of its own; yields that folder."""
    from dlt.common.configuration.providers.dictionary import DictionaryProvider
    from dlt.common.configuration.providers.provider import ConfigProvider
    from dlt.common.runtime.run_context import RunContext, switched_run_context

    class Workspace(RunContext):
        def __init__(self, folder: str) -> None:
            super().__init__(folder)
            self._global_dir = folder

        @property
        def run_dir(self) -> str:
            return self._global_dir

        local_dir = data_dir = run_dir

        def initial_providers(self) -> list[ConfigProvider]:
            settings = DictionaryProvider()
            for key, value in SETTINGS.items():
                settings.set_value(key, value, None)
            return [settings]

    with tempfile.TemporaryDirectory(prefix="ingest-") as folder, switched_run_context(Workspace(folder)):
        logging.getLogger("dlt").propagate = False
        yield folder
