"""Sweeps of the tables of problems, one module each."""
