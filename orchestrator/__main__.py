"""`python -m orchestrator` is the `orchestrator` command."""

from orchestrator.cli.entry import main

if __name__ == "__main__":
    main()
