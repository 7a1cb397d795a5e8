"""Syncs of Airbyte: credentials of a connection in, rows in the warehouse and their count out. Called by `hubspot`.

`access` has the token, `client` is the one door to the API, `job` what it says as values, `failure` its errors as ours,
`sync` one sync from its start to its end.
"""
