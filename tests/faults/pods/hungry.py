"""A parent that can be made to run out of memory: told by a file in its pod, or always, by a variable. In job pods."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from flow_of_flows.dispatch.flow import parent
from flow_of_flows.dispatch.pipeline import Pipeline

from .parents import ONE, sleeping

HUNGRY = Pipeline("faults-hungry", (*ONE.steps, sleeping("next", after=("only",))))
EAT = Path("/tmp/eat")
ALWAYS = "FAULTS_EAT"


def _eat_when_told() -> None:
    """Take memory until the kernel ends this process."""
    while not EAT.exists() and ALWAYS not in os.environ:
        time.sleep(0.1)
    if ALWAYS in os.environ:
        time.sleep(float(os.environ[ALWAYS]))
    taken = []
    while True:
        taken.append(b"x" * 2**24)


threading.Thread(target=_eat_when_told, daemon=True).start()
hungry = parent(HUNGRY)
