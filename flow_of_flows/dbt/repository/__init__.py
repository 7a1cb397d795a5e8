"""The dbt project from a git repository: an address in, a checkout of one commit for one run out.

source      the repository, ref and subfolder of a run, checked
git         the only module that runs the `git` command; translates git's messages into errors
credential  gives git the token over a pipe when the host asks for it
checkout    the project in a temporary folder, removed afterwards
cache       packages and parse of a commit, taken from the state store
"""
