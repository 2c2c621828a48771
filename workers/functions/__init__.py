"""What makes a function ready to run: its archive, its command, its building."""
