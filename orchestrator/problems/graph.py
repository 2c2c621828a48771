"""The kinds of modules and what each needs, as data: a second graph is a second table."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.engine import graph as order

USER_INPUT = 7
"""The number that stands for the orchestrator, whose output is the user input."""

UNKNOWN, ALL = 8, 9
"""Numbers that clients use for no kind, and for all."""


@dataclass(frozen=True)
class Need:
    """What a callback is given.

    Args:
        source: the kind whose output it is, or `USER_INPUT`.
        baseline: whether it is the output of the parent iteration, which nobody waits for.
    """

    source: int
    baseline: bool = False


@dataclass(frozen=True)
class ModuleKind:
    """A kind of modules.

    Args:
        number: what clients call it.
        name: the same in words.
        participant: the name of its process in the SDK.
        needs: in the order of the callback.
        output: the type of what it makes.
    """

    number: int
    name: str
    participant: str
    needs: Sequence[Need]
    output: type[Message]

    @property
    def parents(self) -> list[int]:
        """The kinds whose outputs must be there before it runs."""
        return [need.source for need in self.needs if not need.baseline and need.source != USER_INPUT]


_APP, _CARBON, _CONSTRAINTS, _RESOURCES, _METADATA, _MODEL = range(6)
_USER = Need(USER_INPUT)

KINDS: Mapping[int, ModuleKind] = {
    kind.number: kind
    for kind in (
        ModuleKind(_APP, "APP_REQUIREMENTS", "APP_REQUIREMENTS_NODE", [_USER], pb.AppRequirements),
        ModuleKind(
            _CARBON,
            "CARBON_FOOTPRINT",
            "CARBON_FOOTPRINT_NODE",
            [Need(_MODEL), _USER, Need(_RESOURCES)],
            pb.CO2Footprint,
        ),
        ModuleKind(_CONSTRAINTS, "HW_CONSTRAINTS", "HW_CONSTRAINTS_NODE", [_USER], pb.HWConstraints),
        ModuleKind(
            _RESOURCES,
            "HW_RESOURCES",
            "HW_RESOURCES_NODE",
            [Need(_MODEL), Need(_APP), Need(_CONSTRAINTS)],
            pb.HWResource,
        ),
        ModuleKind(_METADATA, "ML_MODEL_METADATA", "ML_MODEL_METADATA_NODE", [_USER], pb.MLModelMetadata),
        ModuleKind(
            _MODEL,
            "ML_MODEL",
            "ML_MODEL_NODE",
            [
                Need(_METADATA),
                Need(_APP),
                Need(_CONSTRAINTS),
                *(Need(source, baseline=True) for source in (_MODEL, _RESOURCES, _CARBON)),
            ],
            pb.MLModel,
        ),
    )
}
"""By number."""

LAST = _CARBON
"""The kind whose output asks for the next iteration."""

GOALS = _METADATA
"""The kind whose output names the goal of the next iteration."""


def named(name: str) -> ModuleKind | None:
    """Return a kind by its name, its participant's name, or its number; None where there is none."""
    for kind in KINDS.values():
        if name in (kind.name, kind.participant, str(kind.number)):
            return kind
    return None


def output_of(kind: int) -> type[Message]:
    """Return the type of what a kind makes, or of the user input."""
    return pb.UserInput if kind == USER_INPUT else KINDS[kind].output


@cache
def in_order(kinds: Mapping[int, ModuleKind] | None = None) -> Sequence[int]:
    """Return the kinds, parents before children."""
    table = KINDS if kinds is None else kinds
    return order.sort({number: table[number].parents for number in table})


@cache
def ranks() -> Mapping[int, int]:
    """Return how deep each kind lies, 0 without a parent."""
    found: dict[int, int] = {}
    for number in in_order():
        found[number] = 1 + max((found[parent] for parent in KINDS[number].parents), default=-1)
    return found


def below(kind: int) -> set[int]:
    """Return a kind and all that need its output, directly or through others."""
    found = {kind}
    for number in in_order():
        if found & set(KINDS[number].parents):
            found.add(number)
    return found


def missing(kind: int, there: Collection[int]) -> list[int]:
    """Return whose outputs a kind waits for, in the order of the callback, when those of some kinds are there."""
    return [parent for parent in KINDS[kind].parents if parent not in there]
