"""Commands that a test gives, and what it sees of them."""

from orchestrator import protos as pb
from orchestrator.problems import commands
from tests.kit.deployment import Deployment, Module

WORDS = {pb.COMMAND_ACCEPTED: "ACCEPTED", pb.COMMAND_APPLIED: "APPLIED", pb.COMMAND_FAILED: "FAILED"}


def give(deployment: Deployment, node: int = 0, target: str = "", command_id: str | None = None, **more):
    command = pb.Command(cmd_node=node, target_node=target, **more)
    record, _ = deployment.ask(commands.give, command, command_id)
    return record


def to_task(deployment: Deployment, command: int, task_id: pb.TaskId, target: str = "") -> pb.CommandRecord:
    return give(deployment, target=target, cmd_task=command, task_id=task_id)


def shown(deployment: Deployment, record: pb.CommandRecord) -> tuple[str, dict[str, str]]:
    found = deployment.ask(commands.get, record.command_id)
    return WORDS[found.state], {target.node: target.error or WORDS[target.state] for target in found.targets}


def obey(module: Module, error: str = "") -> list[int]:
    """Apply what a module is told."""
    told = module.report().commands
    module.report(outcomes=[pb.CommandOutcome(command_id=each.command_id, error=error) for each in told])
    return [each.command for each in told]
