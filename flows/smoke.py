"""The child that does nothing but answer: shows that a worker, a pod, the image and the API work together.

Run by `helm test`, by a person after an upgrade, and by the benchmarks as the child that costs nothing of its own.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime

from flows.child import child
from flows.report.handback import ChildReport


@child("smoke")
def smoke(message: str = "it works") -> ChildReport:
    """Say where this run takes place.

    Args:
        message: what to hand back, so that parameters are seen to arrive.
    """
    first_line = datetime.now(UTC)
    return ChildReport(
        summary=message,
        facts={
            "host": platform.node(),
            "first_line": first_line.isoformat(),
            "user": os.getuid(),
            "python": platform.python_version(),
            "version": importlib.metadata.version("flow-of-flows"),
        },
    )
