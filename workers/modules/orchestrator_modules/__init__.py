"""What runs a module: its types, its process, and the agent beside it, which alone speaks with the orchestrator."""
