"""Traces of what happens on the way of a call and of a task, by OpenTelemetry, where the operator wants them."""
