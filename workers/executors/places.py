"""Where a function sees its files, when it has a root of its own: a sandbox's, or that of an image."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workers.executors.executor import Resource

FUNCTION, INPUTS, OUTPUTS, HOME, ARGUMENTS = (
    Path(path)
    for path in ("/function", "/inputs", "/outputs", "/tmp", "/arguments")  # noqa: S108 - its own
)
_SAMPLES = Path("/samples")


def placed(folder: Path, resources: Sequence[Resource]) -> tuple[dict[Path, Path], list[Resource]]:
    """Return what is to be seen besides the attempt's folder, and all resources as the function sees them.

    Args:
        folder: of the attempt.
        resources: inputs and outputs; what lies in the folder is seen there anyway.

    Returns:
        A path of this machine -> where it is seen, and the resources with their paths there.
    """
    seen: list[Resource] = []
    bound: dict[Path, Path] = {}
    for number, resource in enumerate(resources):
        for name, place in (("inputs", INPUTS), ("outputs", OUTPUTS)):
            if resource.path.is_relative_to(folder / name):
                inside = place / resource.path.relative_to(folder / name)
                break
        else:
            # Not below /inputs: it is read-only, and no place can be made in it.
            inside = _SAMPLES / str(number)
            bound[resource.path] = inside
        seen.append(replace(resource, path=inside))
    return bound, seen
