"""The dbt project from a git repository: an address in, a checkout of one commit for one run out.

source    the repository, ref and subfolder of a run, checked
git       the only module that runs the `git` command; gives it the token, translates its messages into errors
checkout  the project in a temporary folder, removed afterwards; its packages and parse, from the state store
"""
