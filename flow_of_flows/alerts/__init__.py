"""Alerts: send a Slack message and a PagerDuty incident when a pipeline run ends.

`notification` says what happened and who is notified, `redact` removes secrets from it, `history` reads and marks the
run on the Prefect API, `slack_webhook` and `pagerduty_events` send, and `notify` does all of it within a time limit.
"""
