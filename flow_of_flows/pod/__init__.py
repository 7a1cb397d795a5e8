"""What a job pod runs for one flow run, in place of `prefect flow-run execute`: `python -m flow_of_flows.pod`."""
