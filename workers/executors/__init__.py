"""How functions run: one module for each executor, and what they share."""
