"""Brokers with accounts."""
