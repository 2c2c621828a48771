"""The runtime of executions: it starts, ends and looks after workflows for an installation, never with the database."""
