"""User inputs: the defaults that modules rely on, and how an iteration's is made from its parent's."""

import json
import math
from collections.abc import Mapping
from typing import Any

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError
from orchestrator.problems import secrets

DEFAULTS: Mapping[str, Any] = {
    "hardware_required": "PIM_AI_1chip",
    "max_memory_footprint": 100,
    "goal": "",
    "metric": "",
    "model_selected": "",
    "num_outputs": 1,
    "model_restrains": [],
    "hf_token": None,
    "type": "",
    "previous_problem_id": 0,
    "dataset_metadata_description": "",
    "_topic": "",
    "_profile": "",
    "_keywords": "",
    "_applications": "",
}
"""The keys of `extra_data` that modules look for without asking, and what stands there when a user gave nothing."""

_FAMILY = "Transformers"

LARGEST = 4 * 1024 * 1024
"""Most bytes of a user input."""


def extra_of(extra_data: bytes) -> dict[str, Any]:
    """Return the object that `extra_data` is; empty where it is none."""
    try:
        found = json.loads(extra_data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def with_defaults(user_input: pb.UserInput) -> tuple[pb.UserInput, secrets.Secrets]:
    """Return a user input as it is kept, what modules look for filled in, and the user's own secrets apart.

    Raises:
        BadRequestError: its `extra_data` is no JSON object, or a value in it is none that can be.
    """
    kept = pb.UserInput()
    kept.CopyFrom(user_input)
    if kept.extra_data:
        try:
            extra = json.loads(kept.extra_data)
        except (ValueError, RecursionError) as error:
            raise BadRequestError(f"extra_data: a JSON object is expected: {error}") from error
        if not isinstance(extra, dict):
            raise BadRequestError("extra_data: a JSON object is expected")
    else:
        extra = {}
    own = secrets.given(extra)
    for name, default in DEFAULTS.items():
        if extra.get(name) is None:
            extra[name] = default
    for name in own:
        extra[name] = secrets.placeholder(name)
    for name in secrets.of_operator():
        if extra.get(name) is None:
            extra[name] = secrets.placeholder(name)
    if extra.get("model_family") in (None, ""):
        extra["model_family"] = extra["type"] or _FAMILY
    check_number_of_outputs(extra["num_outputs"])
    time_limit(extra)
    kept.extra_data = json.dumps(extra, ensure_ascii=False).encode(errors="surrogatepass")
    secrets.hide(kept, own)
    if kept.ByteSize() > LARGEST:
        raise BadRequestError(f"the user input takes {kept.ByteSize()} bytes, and at most {LARGEST} are kept")
    return kept, own


def check_number_of_outputs(value: Any) -> None:
    """Check how many alternatives are asked for.

    Raises:
        BadRequestError: it is no whole number from 1 on.
    """
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or value < 1:
        raise BadRequestError(f"extra_data.num_outputs: a whole number from 1 on is expected, not {value!r}")


_LONGEST = 10**8


def time_limit(extra: Mapping[str, Any]) -> float | None:
    """Return the iteration's own time limit in seconds, None where it has none.

    Raises:
        BadRequestError: it is no positive number.
    """
    value = extra.get("time_limit")
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared as it is: a whole number may be too large for a real one.
    if not number or not 0 < value <= _LONGEST:
        shown = repr(value)[:100]
        raise BadRequestError(f"extra_data.time_limit: seconds are expected, more than 0 to {_LONGEST}, not {shown}")
    return float(value)


def merged(parent: pb.UserInput, changes: pb.UserInput, given: frozenset[str]) -> pb.UserInput:
    """Return the parent's user input in which the members that are given take the place of the parent's.

    Args:
        parent: that of the iteration that is iterated.
        changes: the new values.
        given: the names of the members that are given; others are inherited.
    """
    made: Any = pb.UserInput()
    made.CopyFrom(parent)
    for field in pb.UserInput.DESCRIPTOR.fields:
        if field.name not in given or field.name == "task_id":
            continue
        made.ClearField(field.name)
        if field.is_repeated:
            getattr(made, field.name).extend(getattr(changes, field.name))
        else:
            setattr(made, field.name, getattr(changes, field.name))
    result: pb.UserInput = made
    return result


def following(user_input: pb.UserInput, carbon: pb.CO2Footprint, goals: pb.MLModelMetadata) -> pb.UserInput | None:
    """Return the user input of the iteration that an output asks for, None where it asks for none.

    Args:
        user_input: of the iteration that made the output.
        carbon: its last output.
        goals: its model's metadata.
    """
    said = extra_of(carbon.extra_data)
    wanted = said.get("num_outputs")
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not 1 < wanted < math.inf:
        return None
    made = pb.UserInput()
    made.CopyFrom(user_input)
    extra = extra_of(user_input.extra_data)
    extra["num_outputs"] = max(1, math.ceil(wanted) - 1)
    extra["model_restrains"] = said.get("model_restrains", [])
    extra["goal"] = ", ".join(goals.ml_model_metadata)
    extra["previous_problem_id"] = user_input.task_id.problem_id
    made.previous_iteration = user_input.task_id.iteration_id
    made.extra_data = json.dumps(extra, ensure_ascii=False).encode(errors="surrogatepass")
    return made
