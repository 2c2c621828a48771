"""Whose functions and compute plans an organization's worker runs."""
