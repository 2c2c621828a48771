"""The bench: what calls, tasks and events cost, each beside a yardstick that was measured in the same run.

`make bench` runs it, see `docs/performance.md`. It needs the extra `embedded`, and nothing here is ever shipped.
"""
