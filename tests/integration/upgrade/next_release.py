"""A release that is made up, to come after this one: its code uses `nodes.running` where ours uses `nodes.attempts`.

Run as a program it is the `orchestrator` command of that release.
"""

from pathlib import Path

from sqlalchemy import TextClause, text

import migrations
from orchestrator.cli.main import main
from orchestrator.engine import nodes, outbox, vitals


def renamed(statement: TextClause, *pairs: tuple[str, str]) -> TextClause:
    """Return a statement with other words; each must stand in it."""
    words = statement.text
    for old, new in pairs:
        assert old in words, f"{old!r} does not stand in {words!r}"
        words = words.replace(old, new)
    return text(words)


if __name__ == "__main__":
    migrations.VERSIONS.append(Path(__file__).parent / "versions")
    nodes._HEAR = renamed(nodes._HEAR, (", attempts,", ", running,"), (" attempts = :", " running = :"))
    nodes._SEATS = renamed(nodes._SEATS, ("sum(attempts) AS", "sum(running) AS"))
    nodes._LIST = renamed(nodes._LIST, (", attempts,", ", running AS attempts,"))
    vitals._NODES = renamed(vitals._NODES, (", attempts,", ", running AS attempts,"))
    outbox._TAKE = renamed(outbox._TAKE, ("sum(attempts)", "sum(nodes.running)"))
    main()
