"""Use cases: one module per aggregate, one function per call, one transaction per function."""
