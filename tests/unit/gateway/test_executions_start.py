"""Executions are served where something says where their files are kept, and only then do their settings count."""

from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.gateway.executions import start
from orchestrator.gateway.identity import Identity, Ways

NOBODY = cast(Any, None)


def test_what_others_call_by_the_same_names_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIME_ZONE", "nowhere")
    assert start.routes(NOBODY, NOBODY) == ()


def test_a_wrong_setting_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDIA_ROOT", str(tmp_path))
    monkeypatch.setenv("TIME_ZONE", "nowhere")
    with pytest.raises(
        ValueError, match=r"^ORCHESTRATOR_TIME_ZONE or TIME_ZONE is wrong: expected the zone of the times in answers$"
    ):
        start.routes(NOBODY, NOBODY)


def test_who_runs_executions_must_be_said_where_callers_are_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDIA_ROOT", str(tmp_path))
    with pytest.raises(ValueError, match="ORCHESTRATOR_EXECUTIONS_ORGANIZATION is needed, since callers"):
        start.routes(NOBODY, Identity(NOBODY, Ways()))
