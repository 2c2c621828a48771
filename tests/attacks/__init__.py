"""Attacks by one organization on another, each with nothing but its own files."""
