"""What a process of ours says was wrong before it ended."""

import json
from collections.abc import Sequence
from contextlib import suppress

# How a command says why it ends.
_FAULT = "Error: "


def last(lines: Sequence[str]) -> str:
    """Return the last thing that a log says was wrong, in one line; empty where it says nothing.

    Args:
        lines: of the log: what a command prints at its end, or objects of JSON.
    """
    for line in reversed(lines):
        if line.startswith(_FAULT):
            return line.removeprefix(_FAULT)
        with suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and said.get("level") in ("error", "critical"):
                why = said.get("error") or said.get("reason") or str(said.get("exception", "")).rpartition("\n")[2]
                return f"{said.get('event')}: {why}" if why else str(said.get("event"))
    return ""
