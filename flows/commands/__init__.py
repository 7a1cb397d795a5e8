"""What the commands of `flows` do; `flows.cli` says how they are spelled."""
