"""What places executions: runs and their steps, what runtimes are told, topics, and looks at Argo."""
