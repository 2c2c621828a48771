"""Outputs of stages and user inputs as objects: lists joined to one text for front ends that exist, or as lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.gateway.problems import plain

ORCHESTRATOR = "ORCHESTRATOR"
"""The name under which the user input is asked for like an output."""


@dataclass(frozen=True)
class Shape:
    """How the output of a kind is shown.

    Args:
        members: that are shown as they are, by the name of the field.
        lists: that are shown joined to one text: name in HTTP -> name of the field.
        separator: between what is joined.
        error: members that say "Error" where there is no output.
    """

    members: tuple[str, ...]
    lists: Mapping[str, str]
    separator: str = ", "
    error: tuple[str, ...] = ()


SHAPES: Mapping[str, Shape] = {
    "APP_REQUIREMENTS": Shape((), {"app_requirements": "app_requirements"}),
    "CARBON_FOOTPRINT": Shape(("carbon_footprint", "energy_consumption", "carbon_intensity"), {}),
    "HW_CONSTRAINTS": Shape(("max_memory_footprint",), {"hardware_required": "hardware_required"}),
    "HW_RESOURCES": Shape(
        (
            "hw_description",
            "power_consumption",
            "latency",
            "memory_footprint_of_ml_model",
            "max_hw_memory_footprint",
        ),
        {},
        error=("hw_description",),
    ),
    "ML_MODEL_METADATA": Shape((), {"keywords": "keywords", "metadata": "ml_model_metadata"}),
    "ML_MODEL": Shape(
        ("model", "model_path", "model_properties", "model_properties_path", "target_latency"),
        {"input_batch": "input_batch"},
        error=("model", "model_path"),
    ),
    ORCHESTRATOR: Shape(
        (
            "modality",
            "problem_short_description",
            "problem_definition",
            "minimum_samples",
            "maximum_samples",
            "optimize_carbon_footprint_manual",
            "previous_iteration",
            "optimize_carbon_footprint_auto",
            "desired_carbon_footprint",
            "geo_location_continent",
            "geo_location_region",
        ),
        {"inputs": "inputs", "outputs": "outputs"},
        " ",
    ),
}
"""The shape of each kind's output, and of the user input."""


def joined(kind: str, output: Any, raw_size: int = 0) -> dict[str, Any]:
    """Return an output as front ends that exist read it, without its task and its state.

    Args:
        kind: of the stage, or `ORCHESTRATOR`.
        output: its message, blank where there is none.
        raw_size: the number of bytes of its model, which are not in it.
    """
    shape = SHAPES[kind]
    found = _members(shape, output)
    for name, field in shape.lists.items():
        found[name] = shape.separator.join(getattr(output, field))
        found[f"{name}_list"] = list(getattr(output, field))
    return found | _besides(kind, output, raw_size)


def listed(kind: str, output: Any, raw_size: int = 0) -> dict[str, Any]:
    """Return an output with its lists as lists, by the names of their fields; see `joined`."""
    shape = SHAPES[kind]
    lists = {field: list(getattr(output, field)) for field in shape.lists.values()}
    return _members(shape, output) | lists | _besides(kind, output, raw_size)


def failed(kind: str, blank: Any, error: str) -> dict[str, Any]:
    """Return what stands for the output of a stage that ended without success.

    Args:
        kind: of the stage.
        blank: a blank message of its output.
        error: why it did.
    """
    found = joined(kind, blank) | dict.fromkeys(SHAPES[kind].error, "Error")
    if kind == "CARBON_FOOTPRINT":
        found["extra_data"] = {"num_outputs": 1, "model_restrains": [], "mode": "error", "error": error}
    return found


def _members(shape: Shape, output: Any) -> dict[str, Any]:
    return {name: plain.cleaned(getattr(output, name)) for name in shape.members}


def _besides(kind: str, output: Any, raw_size: int) -> dict[str, Any]:
    extra = plain.record(output.extra_data)
    if extra is None and kind == "CARBON_FOOTPRINT":
        # Front ends read members of it without looking.
        extra = {}
    return {"extra_data": extra} | ({"raw_model_size": raw_size} if kind == "ML_MODEL" else {})
