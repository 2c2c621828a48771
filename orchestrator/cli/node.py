"""The command of a user about nodes: list."""

from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect
from orchestrator.core.rules import SILENT_LEASES
from orchestrator.core.vitals import CERTIFICATE_NOTICE

if TYPE_CHECKING:
    from orchestrator import protos as pb


@click.group(cls=Connected)
@connection_options
@click.pass_context
def node(context: click.Context, /, **options: Any) -> None:
    """List the worker processes of all organizations."""
    context.obj = Target(**options)


@node.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
@click.pass_obj
def list_nodes(target: Target, as_json: bool) -> None:
    """List the nodes, when each was heard last, and how many attempts it ran then.

    A node that has not been heard for two leases is shown as silent: it has stopped, or cannot reach the orchestrator.
    An organization whose nodes are all silent is away. A certificate that ends within 30 days is told of.
    """
    with connect(target.resolve()) as client:
        from orchestrator import protos as pb
        from orchestrator.cli import reading, tables
        from orchestrator.client.printing import printable

        answer = client.worker.GetNodes(pb.GetNodesParam())
        ages = [_age(answer, node) for node in answer.nodes]
        words = ["silent" if _silent(answer, length) else "alive" for length in ages]
        if as_json:
            listed = [
                {**reading.document(node), "age": round(length.total_seconds(), 3), "state": word}
                for node, length, word in zip(answer.nodes, ages, words, strict=True)
            ]
            reading.print_json({"nodes": listed})
            return
        rows = [
            (node.organization, node.name, f"{tables.age(length)} ago", str(node.attempts), word)
            for node, length, word in zip(answer.nodes, ages, words, strict=True)
        ]
        columns = ("organization", "node", "heard", "attempts", "state")
        console = tables.console()
        console.print(tables.table(*columns, rows=rows, whole=columns[2:]))
        for line in _ending(answer):
            console.print(printable(line), soft_wrap=True, markup=False)
        for name in _away(answer, words):
            console.print(
                f"{printable(name)} is away: none of its nodes is heard in this channel; its tasks wait for one",
                soft_wrap=True,
                markup=False,
            )


def _ending(answer: "pb.GetNodesResponse") -> list[str]:
    """Return a line for each node whose certificate ends soon."""
    from orchestrator.cli import tables

    now = answer.now.ToDatetime(UTC)
    lines = []
    for node in answer.nodes:
        left = node.certificate_ends.ToDatetime(UTC) - now
        if node.HasField("certificate_ends") and left < CERTIFICATE_NOTICE:
            when = f"ends in {tables.age(left)}" if left > timedelta() else f"ended {tables.age(-left)} ago"
            lines.append(f"the certificate of {node.name} of {node.organization} {when}: renew it")
    return lines


def _away(answer: "pb.GetNodesResponse", words: Sequence[str]) -> list[str]:
    """Return the organizations of which no node is alive."""
    alive = {node.organization for node, word in zip(answer.nodes, words, strict=True) if word == "alive"}
    return sorted({node.organization for node in answer.nodes} - alive)


def _age(answer: "pb.GetNodesResponse", node: "pb.Node") -> timedelta:
    return max(timedelta(), answer.now.ToDatetime(UTC) - node.last_heartbeat.ToDatetime(UTC))


def _silent(answer: "pb.GetNodesResponse", length: timedelta) -> bool:
    return length > SILENT_LEASES * answer.lease.ToTimedelta()
