"""The dbt project from a git repository: an address in, a checkout of one commit for one run out.

address     what a run asks for, checked
git         the one door to the `git` command
credential  how git gets the token: over a pipe, when the host asks for it
trouble     what git says, as errors somebody can act on
checkout    the project in a temporary folder, removed afterwards
folder      where it is, and what killed runs have left
reuse       packages and parse of a commit, taken from the state store
"""
