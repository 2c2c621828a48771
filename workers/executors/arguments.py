"""What a function is told: the file of arguments, as `substratools` reads it."""

import json
from collections.abc import Sequence
from pathlib import Path

from workers.executors.executor import Resource


def write(path: Path, rank: int, inputs: Sequence[Resource], outputs: Sequence[Resource]) -> None:
    """Write the file that a function's command gets as `@<file>`: one argument a line.

    Args:
        path: the file.
        rank: of the task.
        inputs: with the paths at which the function sees them.
        outputs: likewise.
    """
    lines = (
        "--task-properties",
        json.dumps({"rank": rank}),
        "--inputs",
        _listed(inputs),
        "--outputs",
        _listed(outputs),
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _listed(resources: Sequence[Resource]) -> str:
    # ensure_ascii would write \u escapes, whose backslash substratools turns into a slash.
    return json.dumps(
        [
            {"id": resource.identifier, "value": str(resource.path), "multiple": resource.multiple}
            for resource in resources
        ],
        ensure_ascii=False,
    )
