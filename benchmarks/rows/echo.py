"""Echo: what a call costs through the same server stack when nothing is behind it."""

from functools import partial

from benchmarks.load import Step, drive
from benchmarks.measure import Number, Numbers, Row
from benchmarks.processor import spent
from benchmarks.requests import MODELS, new_key, new_model
from benchmarks.side import Side, tree
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from orchestrator import protos as pb


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows: each number of clients, plain and with mutual TLS."""
    return [
        Row(
            f"echo {clients} {'tls' if tls else 'plain'}",
            f"a message of a model, parsed and answered: {clients} clients",
            partial(_measure, clients),
            tls=tls,
        )
        for tls in (False, True)
        for clients in (sizes.clients_tls if tls else sizes.clients)
    ]


def _measure(clients: int, stage: Stage, side: Side) -> Numbers:
    rate, processor = measure(stage, clients, side.tls)
    return {"calls": Number(rate, "calls/s"), "server's processor": Number(processor * 1e6, "µs a call")}


def measure(stage: Stage, clients: int, tls: bool) -> tuple[float, float]:
    """Return how many calls a second the echo answers to so many clients, and its seconds of processor a call.

    It is measured once a round.
    """

    def find() -> tuple[float, float]:
        body = pb.RegisterModelsParam(models=[new_model(new_key())]).SerializeToString()
        lives = [[Step(f"{MODELS}/RegisterModels", body)]] * stage.sizes.echoes
        target, process = stage.echo(tls)
        before = spent(tree(process))
        done = stage.run(drive, target, clients, lives, stage.sizes.seconds)
        return done.calls / done.seconds, (spent(tree(process)) - before) / done.calls

    return stage.once(("echo", clients, tls), find)
