"""What the commands of `flows` do; `flow_of_flows.cli.app` says how they are spelled."""
