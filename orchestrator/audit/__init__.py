"""Whether what is told keeps the promises, and whether the rows are what was told."""
