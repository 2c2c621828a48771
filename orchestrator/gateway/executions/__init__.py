"""The REST edge of executions: paths, bodies, shapes of errors and downloads as its clients know them."""
