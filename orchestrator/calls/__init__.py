"""One call, whichever edge it came through: who calls, in which channel, its place, its thread, its transaction."""
