"""Fork server: children as forks of a process that has the imports done."""
