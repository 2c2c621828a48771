"""The user input of a request: its members checked one by one, and told apart from what else came along."""

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from orchestrator import protos as pb
from orchestrator.gateway.problems import documents
from orchestrator.gateway.problems.documents import I32, U32, Document, FormError
from orchestrator.problems.submitting import NewTask

MEMBERS: Mapping[str, Callable[[Document, str], Any]] = {
    "modality": documents.text,
    "problem_short_description": documents.text,
    "problem_definition": documents.text,
    "inputs": documents.texts,
    "outputs": documents.texts,
    "minimum_samples": partial(documents.whole, least=0, most=U32),
    "maximum_samples": partial(documents.whole, least=0, most=U32),
    "optimize_carbon_footprint_manual": documents.flag,
    "optimize_carbon_footprint_auto": documents.flag,
    "desired_carbon_footprint": documents.number,
    "geo_location_continent": documents.text,
    "geo_location_region": documents.text,
}
"""How each member is read; `previous_iteration`, `extra_data` and `type` are read beside them."""

_BESIDE = frozenset({"previous_iteration", "extra_data", "type", "task_id"})
_EXTRA = "extra_data"
_TEXTS = ("hf_token", "type", "model_family", "hardware_required", "goal", "metric", "model_selected")
_NUMBERS = {"num_outputs": (1, I32), "max_memory_footprint": (0, U32), "previous_problem_id": (0, I32)}
"""What modules and the orchestrator read in `extra_data`: the least and the most of each."""


def read(document: Document, own: Collection[str] = (), *, iterates: bool = False) -> NewTask:
    """Return the task that a request asks for; a member that is null counts as absent.

    Args:
        document: the body: the members of a user input, and more, which goes into its `extra_data`.
        own: members of the body that are no part of the user input.
        iterates: whether the path says already which problem is iterated.

    Raises:
        FormError: a member is wrong.
    """
    asked = pb.UserInput()
    given = set()
    for name, reader in MEMBERS.items():
        if (value := reader(document, name)) is not None:
            given.add(name)
            _put(asked, name, value)
    extra = documents.record(document, _EXTRA)
    previous = documents.whole(document, "previous_iteration", -1, I32) or 0
    if previous and not iterates:
        asked.previous_iteration = previous
        _check_problem(extra or {})
    known = {*MEMBERS, *_BESIDE, *own}
    more = {name: value for name, value in document.items() if name not in known and value is not None}
    family = documents.text(document, "type")
    if iterates and extra is None and (lost := [*more, *(["type"] if family is not None else [])]):
        raise FormError(lost[0], "it is no member of a user input; put it into extra_data, with all that stays there")
    if extra is not None or not iterates:
        given.add(_EXTRA)
        asked.extra_data = json.dumps(_whole(extra or {}, more, family), ensure_ascii=False).encode()
    return NewTask(asked, frozenset(given))


def _put(asked: pb.UserInput, name: str, value: Any) -> None:
    if isinstance(value, list):
        getattr(asked, name).extend(value)
    else:
        setattr(asked, name, value)


def _whole(extra: Mapping[str, Any], more: Mapping[str, Any], family: str | None) -> Mapping[str, Any]:
    """Return `extra_data` with what came beside it.

    The members are checked that the orchestrator itself goes by, and those that modules put into messages unseen: their
    callbacks would fail.
    """
    whole = {**more, **extra}
    for name, (least, most) in _NUMBERS.items():
        if (number := documents.whole(whole, name, least, most, _EXTRA)) is not None:
            whole[name] = number
    limit = documents.number(whole, "time_limit", place=_EXTRA)
    if limit is not None and limit <= 0:
        raise FormError(f"{_EXTRA}.time_limit", f"a positive number of seconds is expected, {limit:g} given")
    for name in _TEXTS:
        documents.text(whole, name, _EXTRA)
    if family and whole.get("model_family") in (None, ""):
        whole["model_family"] = family
    return whole


def _check_problem(extra: Mapping[str, Any]) -> None:
    name = "previous_problem_id"
    if documents.whole(extra, name, 1, I32, _EXTRA) is None:
        raise FormError(f"{_EXTRA}.{name}", "it is missing, and previous_iteration needs it to say of which problem")
