"""Alerts: send a Slack message and a PagerDuty incident when a pipeline run ends.

`notification` says what happened and who is notified, `redact` removes secrets from it, `slack_webhook` and
`pagerduty_events` send it, and `notify` does all of it within a time limit and marks the run on the Prefect API.
"""
