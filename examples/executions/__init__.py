"""Executions of stored schemas: workflow files, the programs of their containers, and what they need besides."""
