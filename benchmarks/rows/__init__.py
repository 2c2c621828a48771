"""The rows of the bench: a module for each kind, each with `rows(sizes)`."""
