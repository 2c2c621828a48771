"""The tests' own way to a RabbitMQ leaves the machine as it was."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.kit import debian
from tests.kit.brokers.rabbitmq import PACKAGE


def answer(policy: Path) -> int:
    return subprocess.run([str(policy), PACKAGE, "start"]).returncode


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the policy on services would lie."""
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(debian, "POLICY", path)
    return path


def test_services_are_forbidden_meanwhile(policy: Path) -> None:
    with debian.no_services(PACKAGE):
        assert answer(policy) == 101
    assert not list(policy.parent.iterdir())


@pytest.mark.parametrize("code", [0, 101])
def test_a_policy_of_others_is_there_again(policy: Path, code: int) -> None:
    policy.write_text(f"#!/bin/sh\nexit {code}\n")
    policy.chmod(0o755)
    with debian.no_services(PACKAGE):
        assert answer(policy) == 101
    assert answer(policy) == code
    assert list(policy.parent.iterdir()) == [policy]


def test_who_cannot_install_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(debian.AbsentError, match=r"is not installed, and (only root|there is no apt)"):
        debian.install(PACKAGE)
