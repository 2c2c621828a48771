"""The embedded default: every server of a federation as child processes on one machine."""
