"""Templates of workflows, and what they are told of an execution."""
