"""Work of any kind that is queued, claimed, leased, paused, retried, ended."""
