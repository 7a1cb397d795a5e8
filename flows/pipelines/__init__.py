"""The parents: each orders children and does no work of its own. Importing one imports no child."""

from __future__ import annotations

import difflib
import importlib

from flows.dispatch.plan import Pipeline
from flows.errors import ConfigurationError

# Name of a pipeline: where it is declared.
DECLARED = {
    "daily-pipeline": "flows.pipelines.daily:DAILY",
    "weekly-full-refresh": "flows.pipelines.weekly:WEEKLY",
    "jaffle-shop": "flows.pipelines.jaffle_shop:JAFFLE_SHOP",
    "staging": "flows.pipelines.staging:STAGING",
}


def check(name: str) -> None:
    """Look whether there is a pipeline of that name, without importing it.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in DECLARED:
        close = difflib.get_close_matches(name, DECLARED, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ConfigurationError(
            f"Unknown pipeline {name}", where="flows.pipelines", todo=f"{hint}there are {', '.join(DECLARED)}"
        )


def find(name: str) -> Pipeline:
    """The pipeline of that name, as it is declared; `configured` makes of it what the settings say.

    Raises:
        ConfigurationError: there is none.
    """
    check(name)
    module, attribute = DECLARED[name].split(":")
    pipeline: Pipeline = getattr(importlib.import_module(module), attribute)
    return pipeline
