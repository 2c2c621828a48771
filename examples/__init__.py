"""Federations to run, read and change."""
