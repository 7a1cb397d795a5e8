"""The fault matrix: what may break is broken on a real cluster, and every run has to end exactly as promised."""
