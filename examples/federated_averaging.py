"""Federated averaging: hospitals train one model together, and no patient leaves home.

Start a federation with `orchestrator up`, and run this in another terminal:

    python examples/federated_averaging.py --rounds 3
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from examples.breast_cancer.registration import Dataset, Functions, add_dataset, add_functions, joined
from orchestrator.client import Client, Plan
from orchestrator.client.display import show
from orchestrator.embedded import running

AGGREGATOR = "aggregator"


def build_plan(client: Client, functions: Functions, datasets: Mapping[str, Dataset], rounds: int) -> Plan[None]:
    """Return the compute plan, not yet submitted: rounds of training and averaging, then a test at each hospital."""
    hospitals = list(datasets)
    plan = client.plan("Breast cancer, federated averaging", tag="demo")
    shared = None
    for number in range(1, rounds + 1):
        round_of = {"round": str(number)}
        models = [
            plan.train(
                function=functions.train,
                data_manager=datasets[hospital].manager,
                data_samples=datasets[hospital].train,
                shared=shared,
                permissions=client.organization,
                metadata=round_of,
            )
            for hospital in hospitals
        ]
        shared = plan.aggregate(
            function=functions.aggregate,
            models=models,
            worker=client.organization,
            permissions=hospitals,
            metadata=round_of,
        )
    if shared is None:
        raise ValueError(f"rounds must be 1 or more, not {rounds}")
    for hospital in hospitals:
        plan.test(
            function=functions.test,
            data_manager=datasets[hospital].manager,
            data_samples=datasets[hospital].test,
            model=shared,
        )
    return plan


def main(data: Path, rounds: int) -> None:
    """Train in the federation that runs in a folder, and print how good the shared model is."""
    from examples.breast_cancer.data import split

    federation = running.read(data)
    if federation is None:
        sys.exit(f"no federation runs in {data}: start one with `orchestrator up`")
    hospitals = [name for name in federation.organizations if name != AGGREGATOR]
    patients = split(hospitals)
    with joined(federation) as clients:
        analyst = clients[AGGREGATOR]
        functions = add_functions(analyst, hospitals)
        datasets = {name: add_dataset(clients[name], patients[name], AGGREGATOR) for name in hospitals}
        analyst.wait_ready(*functions.all)
        plan = build_plan(analyst, functions, datasets, rounds)
        plan.submit()
        progress = show(analyst, plan)
        if progress.state != "Done":
            sys.exit(f"the compute plan is {progress.state}: see `orchestrator plan show {plan.key}`")
        print(plan.scores())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train one model in the federation that `orchestrator up` runs.")
    parser.add_argument("--data", type=Path, default=os.environ.get("ORCHESTRATOR_DATA", ".orchestrator"))
    parser.add_argument("--rounds", type=int, default=3)
    main(**vars(parser.parse_args()))
