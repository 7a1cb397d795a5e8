"""Warehouses: how to connect to one, and queries on it."""

from flow_of_flows.warehouse.targets import Target, from_settings

__all__ = ["Target", "from_settings"]
