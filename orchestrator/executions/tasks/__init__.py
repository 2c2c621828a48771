"""Runs on the engine's own workers: containers as tasks, where they run, and those that start together."""
