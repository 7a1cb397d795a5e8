"""A notice as a Slack message: the JSON of an incoming webhook, in Block Kit, within Slack's limits. Pure."""

from __future__ import annotations

from typing import Any

from flow_of_flows.alerts.notification import Failure, Notice, Part
from flow_of_flows.alerts.redact import cut
from flow_of_flows.runs.outcome import Verdict
from flow_of_flows.summary.run_summary import REUSED

# Slack's own limits: characters of a header and of a section.
HEADER, SECTION = 150, 3000
MARKS = {Verdict.COMPLETED: "✅", Verdict.DEGRADED: "⚠️", Verdict.FAILED: "❌", Verdict.CANCELLED: "⛔"}


def message(notice: Notice) -> dict[str, Any]:
    """The message. `text` is what a notification on a phone shows."""
    title = headline(notice)
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": cut(title, HEADER), "emoji": True}},
        _section(_summary(notice)),
        *(_section(_failure(failure)) for failure in notice.failures),
    ]
    if notice.more_failures:
        blocks.append(_section(f"… and {notice.more_failures} more failed steps, on the run's page."))
    if notice.warnings:
        blocks.append(_section("*Warnings*\n" + "\n".join(f"• {escape(text)}" for text in notice.warnings)))
    if notice.verdict is not Verdict.COMPLETED:
        blocks.append(_section(_rerun(notice)))
    return {"text": escape(f"{title}: {notice.summary}"), "blocks": blocks}


def headline(notice: Notice) -> str:
    """The end of the run in a few words."""
    state = "recovered" if notice.recovered_from else str(notice.verdict)
    return f"{MARKS.get(notice.verdict, '')} {notice.pipeline} {state} ({notice.environment})".strip()


def escape(text: str) -> str:
    """A text that Slack shows as it is: it calls nobody, links nothing, and ends no code."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")
    # A zero-width space: @channel stays readable, and is no word that Slack knows.
    return plain.replace("@", "@\u200b")


def _summary(notice: Notice) -> str:
    name = escape(notice.name)
    run = f"<{_address(notice.url)}|{name}>" if notice.url else f"`{name}` (`{notice.run}`)"
    before = f" The run before it {_ended(notice.recovered_from)}." if notice.recovered_from else ""
    return f"{escape(notice.summary)}.{before} Run {run}."


def _failure(failure: Failure) -> str:
    step = f"<{_address(failure.url)}|{escape(failure.step)}>" if failure.url else escape(failure.step)
    lines = [f"*{step} failed: {escape(failure.cause)}*", escape(failure.why)]
    lines += [_part(part) for part in failure.parts]
    if failure.more:
        lines.append(f"… and {failure.more} more, in the child run.")
    # The end is what has to be read, so that the middle is what is cut.
    todo = f"*What to do:* {escape(failure.todo)}"
    return cut("\n".join(lines), SECTION - len(todo) - 1) + "\n" + todo


def _part(part: Part) -> str:
    owner = f", owner {escape(part.owner)}" if part.owner else ""
    return f"• `{escape(part.name)}` ({escape(part.status)}{owner}): {escape(part.message)}"


def _rerun(notice: Notice) -> str:
    return f"*What to rerun:* Press *Retry* on the run's page, or run `{notice.resume}`. {REUSED}"


def _ended(state: str) -> str:
    return {"cancelled": "was cancelled"}.get(state, state)


def _address(url: str) -> str:
    return url.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")


def _section(text: str) -> dict[str, Any]:
    # verbatim: Slack does not look for names, channels and addresses in it by itself.
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION), "verbatim": True}}
