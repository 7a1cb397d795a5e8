"""Children that use the tables that dbt builds for readers (the marts); each is one `flow_of_flows.refresh.Refresh`."""
