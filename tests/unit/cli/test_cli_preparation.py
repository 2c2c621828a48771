"""What the demo computes beside the start of its federation."""

import threading

import pytest

from orchestrator.cli import experiment
from orchestrator.cli.experiment import Preparation


def test_what_goes_wrong_is_told_to_whoever_asks(monkeypatch: pytest.MonkeyPatch):
    def split() -> None:
        raise ValueError("no patients")

    monkeypatch.setattr(experiment, "_split", split)
    preparation = Preparation(1)
    for future in (preparation.hospitals, preparation.baselines):
        with pytest.raises(ValueError, match="no patients"):
            future.result(60)


def test_nobody_waits_for_it_at_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch):
    ended = threading.Event()
    monkeypatch.setattr(experiment, "_split", ended.wait)
    Preparation(1)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "preparation")
    assert thread.daemon
    monkeypatch.setattr(experiment, "_measure", lambda *_: None)
    ended.set()
    thread.join(60)
