"""The files of schemas and executions: as they come, where they are kept, and which are."""
