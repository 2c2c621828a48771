"""The trace: events, their order, who follows it, and what is forgotten of it."""
