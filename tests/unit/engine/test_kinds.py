"""The registry of kinds of work: what an installed distribution brings, and what cannot be imported."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestrator.core.errors import UnknownKindError
from orchestrator.engine import kinds


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Lay out a distribution with entry points, as pip would."""

    def lay_out(entry_points: str) -> None:
        metadata = tmp_path / "others-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{kinds.GROUP}]\n{entry_points}\n")
        monkeypatch.syspath_prepend(tmp_path)

    kinds._registry.cache_clear()
    yield lay_out
    kinds._registry.cache_clear()


@pytest.mark.parametrize(
    ("value", "content", "error"),
    [
        ("no_such_module:KIND", None, "ModuleNotFoundError"),
        ("half_a_kind:KIND", "", "AttributeError"),
        ("wrong_kind:KIND", "raise RuntimeError('it needs more')", "it needs more"),
    ],
)
def test_a_kind_that_cannot_be_imported_is_named_and_left_out(
    tmp_path: Path, install: Callable[[str], None], value: str, content: str | None, error: str
) -> None:
    if content is not None:
        (tmp_path / f"{value.partition(':')[0]}.py").write_text(content)
    install(f"broken = {value}")
    with capture_logs() as said:
        assert kinds.names() == ["compute", "executions", "problems"]
        assert [kind.name for kind in kinds.every()] == ["compute", "executions", "problems"]
        assert kinds.of("compute").name == "compute"
        with pytest.raises(
            UnknownKindError, match=rf"'broken' is not known here .*{value} cannot be imported.*{error}"
        ):
            kinds.of("broken")
    (line,) = said
    assert (line["event"], line["log_level"]) == ("kind.left_out", "error")
    assert (line["kind"], line["entry_point"]) == ("broken", value)
    assert error in line["error"]


def test_a_kind_that_nobody_brings_is_refused_with_what_to_install() -> None:
    with pytest.raises(UnknownKindError, match=r"'gone' is not known here \(.*compute.* are\): install what brings it"):
        kinds.of("gone")
