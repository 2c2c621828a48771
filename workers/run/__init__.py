"""One attempt at a task, from its claim to its report."""
