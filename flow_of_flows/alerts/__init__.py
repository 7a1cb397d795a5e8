"""Alerts: the end of a pipeline run in, a Slack message and a PagerDuty incident out.

`notice` says what happened as a value, `due` who is told, `slack_message` and `incident_event` build what is sent;
`webhook` and `events_api` are the doors, `past` reads and marks the run on the Prefect API, and `announce` does all of
it within a bound.
"""
