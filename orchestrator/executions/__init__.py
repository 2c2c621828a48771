"""Executions of stored schemas: the product whose clients are portals and the pods of workflows."""
