"""What a front end in Python calls: the orchestrator's HTTP, by the names that module scripts know."""
