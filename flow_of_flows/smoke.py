"""The child that does nothing but answer: shows that a worker, a pod, the image and the API work together.

Run by `helm test`, by a person after an upgrade, and by the benchmarks as the child that costs nothing of its own. With
`checks` it looks at every system from where children run, with their identity: what `flows doctor` cannot do elsewhere.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
from datetime import UTC, datetime

from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport, Problem


@child("smoke")
def smoke(message: str = "it works", *, checks: bool = False) -> ChildReport:
    """Say where this run takes place.

    Args:
        message: what to report, so that parameters are seen to arrive.
        checks: Also look at warehouse, state store, secrets and other systems as `flows doctor` does, from this pod.
    """
    first_line = datetime.now(UTC)
    found = _checked() if checks else {}
    return ChildReport(
        summary=message,
        facts={
            "host": platform.node(),
            "first_line": first_line.isoformat(),
            "user": os.getuid(),
            "python": platform.python_version(),
            "version": importlib.metadata.version("flow-of-flows"),
            **found,
        },
    )


def _checked() -> dict[str, str]:
    """Return what each check found.

    Raises:
        FlowsError: something is wrong; all of it is in the report.
    """
    from flow_of_flows.cli.doctor import findings
    from flow_of_flows.settings import Settings

    found = asyncio.run(findings(Settings.load()))
    errors = {finding.subject: finding.error for finding in found if finding.error}
    if errors:
        worst = max(errors.values(), key=lambda error: error.exit_code)
        raise type(worst)(
            f"{len(errors)} of {len(found)} checks found something wrong: {', '.join(errors)}",
            location=platform.node(),
            hint="mend what the report lists, then run this again",
            problems=tuple(
                Problem(name=subject, status="wrong", message=str(error)) for subject, error in errors.items()
            ),
        )
    return {finding.subject: finding.found for finding in found}
