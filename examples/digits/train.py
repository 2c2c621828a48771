"""Three clinics train one neural network that reads handwritten digits; the analyst who asks for it has no data.

Start a federation with `orchestrator up`, and run this in another terminal:

    python examples/digits/data.py /tmp/clinics
    python examples/digits/train.py /tmp/clinics --rounds 5

It uses the SDK alone. Here one program acts for every organization; in a network each runs its own part, with
`Client(address, organization, channel, Certificates(…))`.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

from orchestrator.embedded import running

HERE = Path(__file__).parent
ANALYST = "aggregator"


def main(data: Path, rounds: int) -> None:
    """Train in the federation that runs on this machine, print the scores, and download the network.

    Args:
        data: a folder for each clinic, as `data.py` writes them.
        rounds: of training.
    """
    federation = running.here()
    clinics = [name for name in federation.organizations if name != ANALYST]
    with ExitStack() as connections:
        clients = {name: connections.enter_context(federation.client(name)) for name in federation.organizations}
        analyst = clients[ANALYST]

        # The analyst adds what is to be run, and says who may run it.
        train = analyst.add_function(HERE / "functions" / "train", permissions=clinics)
        average = analyst.add_function(HERE / "functions" / "average")
        test = analyst.add_function(HERE / "functions" / "test", permissions=clinics)

        # Each clinic adds its data, which stay there, and says who may use them and read what tasks on them print.
        datasets, samples, tests = {}, {}, {}
        for name in clinics:
            datasets[name] = clients[name].add_dataset(
                HERE / "opener.py", name=f"Digits of {name}", permissions=ANALYST, logs=ANALYST
            )
            samples[name] = clients[name].add_samples(
                [data / name / "train-1", data / name / "train-2"], datasets[name]
            )
            tests[name] = clients[name].add_samples([data / name / "test"], datasets[name])
        analyst.wait_ready(train, average, test)

        plan = analyst.plan("Handwritten digits", tag="example")
        shared = None
        for number in range(1, rounds + 1):
            networks = [
                plan.train(
                    function=train,
                    data_manager=datasets[name],
                    data_samples=samples[name],
                    shared=shared,
                    permissions=ANALYST,
                    metadata={"round": str(number)},
                )
                for name in clinics
            ]
            shared = plan.aggregate(function=average, models=networks, worker=ANALYST, permissions=clinics)
            for name in clinics:
                plan.test(function=test, data_manager=datasets[name], data_samples=tests[name], model=shared)
        plan.submit()
        plan.wait()
        print(plan.scores())
        print(f"the network is in {analyst.download(shared, data / 'network.json')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a network in the federation that `orchestrator up` runs.")
    parser.add_argument("data", type=Path, help="What data.py wrote.")
    parser.add_argument("--rounds", type=int, default=5)
    main(**vars(parser.parse_args()))
