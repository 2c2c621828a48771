"""Echo: what a call costs through the same server stack when nothing is behind it."""

from functools import partial

from benchmarks.load import Step, drive
from benchmarks.measure import Number, Numbers, Row
from benchmarks.requests import MODELS, new_key, new_model
from benchmarks.side import Side
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
    return {"calls": Number(rate(stage, clients, side.tls), "calls/s")}


def rate(stage: Stage, clients: int, tls: bool) -> float:
    """Return how many calls a second the echo answers to so many clients, measured once a round."""

    def measure() -> float:
        body = pb.RegisterModelsParam(models=[new_model(new_key())]).SerializeToString()
        lives = [[Step(f"{MODELS}/RegisterModels", body)]] * stage.sizes.echoes
        done = stage.run(drive, stage.echo(tls), clients, lives, stage.sizes.seconds)
        return done.calls / done.seconds

    return stage.once(("echo", clients, tls), measure)
