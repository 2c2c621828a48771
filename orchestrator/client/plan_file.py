"""A compute plan in a file: JSON, as protobuf writes its messages."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.client.errors import PlanError


def write(path: Path, plan: pb.NewComputePlan, tasks: Iterable[pb.NewComputeTask]) -> None:
    """Write a plan and its tasks.

    Raises:
        OSError: the file cannot be written.
    """
    document = {"plan": _shown(plan), "tasks": [_shown(task) for task in tasks]}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def read(path: Path) -> tuple[pb.NewComputePlan, list[pb.NewComputeTask]]:
    """Return what a file holds.

    Raises:
        OSError: it cannot be read.
        PlanError: it is no plan.
    """
    try:
        document = json.loads(path.read_text())
        plan = ParseDict(document["plan"], pb.NewComputePlan())
        return plan, [ParseDict(task, pb.NewComputeTask()) for task in document["tasks"]]
    except (ValueError, ParseError, TypeError, KeyError, AttributeError) as error:
        raise PlanError(
            f"{path} holds no compute plan as `Plan.save` writes it, a JSON object of plan and tasks: {error}"
        ) from error


def _shown(message: Message) -> dict[str, Any]:
    document: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return document
