"""Files that may change while a process runs: how they are read again, and written all at once."""
