"""The sweeps of executions."""
