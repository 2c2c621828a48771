"""The program of the example's containers: `python engine train --execution 7 …`.

As the programs of a pod do, it reports that the execution runs, does its part of it, and reports how that has ended.
A client that only takes part in a federated run, and its manager, report a failure alone.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import Any

import federation
import work
from execution import Execution, ReportError
from models import Models

_LONGEST = 500
_PARTS: dict[str, Callable[[argparse.Namespace, Execution, Models], dict[str, Any] | None]] = {
    "train": work.train,
    "evaluate": work.evaluate,
    "infer": work.infer,
    "manage": federation.manage,
    "take-part": federation.take_part,
    "publish": federation.publish,
}


def main() -> int:
    """Do one part of an execution; return the exit code."""
    asked = _parser().parse_args()
    execution, models = Execution(asked.orchestrator, asked.execution), Models(asked.maas)
    try:
        execution.running()
        made = _PARTS[asked.part](asked, execution, models)
        if made is not None:
            execution.succeeded(made)
    except ReportError as error:
        # Nobody refers to what was made.
        models.forget()
        print(error, file=sys.stderr)
        return 1
    except Exception as error:
        traceback.print_exc()
        models.forget()
        message = f"{asked.part}{f' at {asked.partner}' if asked.partner else ''}: {type(error).__name__}: {error}"
        try:
            execution.failed(message[:_LONGEST])
        except ReportError as refused:
            print(refused, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="engine", description=__doc__)
    parser.add_argument("part", choices=_PARTS)
    parser.add_argument("--execution", type=int, required=True, help="its id")
    parser.add_argument("--orchestrator", required=True, help="host:port of the orchestrator's API")
    parser.add_argument("--maas", required=True, help="host:port of MaaS")
    parser.add_argument("--engine", default="", help="the descriptor of the AI engine")
    parser.add_argument("--model", type=int, help="id in MaaS of the input model")
    parser.add_argument("--partner", default="", help="the data partner at which this runs")
    parser.add_argument("--patients", help="the patients, a JSON object of lists by data partner")
    parser.add_argument("--data", help="the file with the data partner's images")
    parser.add_argument("--name", default="", help="of the output model")
    parser.add_argument("--description", default="", help="of the output model")
    parser.add_argument("--merge-type", default="default", help="of the output model")
    parser.add_argument("--partners", help="the data partners of a federated run, as the workflow lists them")
    parser.add_argument("--iterations", type=int, default=0, help="of a federated run")
    parser.add_argument("--adapter", help="the communication adapter of a federated run")
    parser.add_argument("--kafka", help="host:port of a Kafka broker")
    parser.add_argument("--shared", help="a folder at the central node")
    return parser


if __name__ == "__main__":
    sys.exit(main())
