"""The runtime of executions: it starts and ends workflows and makes topics, next to the servers that run them."""
