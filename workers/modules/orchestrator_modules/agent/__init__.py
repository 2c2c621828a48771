"""The agent of a module's process: a Celery worker of the queue of its kind, under the worker protocol.

It alone speaks with the orchestrator and the broker. It ends when its script's process does.
"""
