"""Says whether the worker's own Python has what functions ask for, so that nothing is to be installed."""

from collections.abc import Sequence
from functools import lru_cache
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

from workers.functions.packages import Install


def holds(installs: Sequence[Install]) -> bool:
    """Say whether all that is asked for is there, with what it needs.

    Args:
        installs: what is asked for; what is known by a checksum, or comes from the function's own folder or another
            index, is not there.
    """
    return all(
        not install.wheels
        and not install.sources
        and not install.indexes
        and not any("--hash" in line for line in install.requirements)
        and all(_is_there(line) for line in install.requirements)
        and all(_is_there(line, asked=False) for line in install.constraints)
        for install in installs
    )


@lru_cache(maxsize=256)
def _is_there(line: str, *, asked: bool = True) -> bool:
    try:
        return _holds(Requirement(line.partition(" --hash")[0]), "", asked, set())
    except InvalidRequirement:
        return False


def _holds(requirement: Requirement, extra: str, asked: bool, seen: set[tuple[str, str]]) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
        return True
    try:
        found = metadata.distribution(requirement.name)
    except metadata.PackageNotFoundError:
        return not asked
    if not requirement.specifier.contains(found.version, prereleases=True):
        return False
    for wanted in ("", *requirement.extras):
        if (requirement.name, wanted) in seen or not asked:
            continue
        seen.add((requirement.name, wanted))
        for line in found.requires or ():
            if not _holds(Requirement(line), wanted, True, seen):
                return False
    return True
