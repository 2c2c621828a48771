"""The map of images: what it reads, and what it refuses by its line."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestrator.core.documents import DocumentError
from workers.consent import images
from workers.consent.images import Image
from workers.consent.policy import Consent
from workers.executors.executor import Shared


def test_an_image_has_a_command_and_what_it_is_lent(tmp_path: Path) -> None:
    text = f"""
engine:1.4:
  command: [python3, -m, engine]
  network: true
  paths: [{tmp_path}, "{tmp_path}:rw"]
  env: [MODEL_DIR]
other: {{command: [sh]}}
"""
    assert images.parse(text.encode(), "images.yaml") == {
        "engine:1.4": Image(
            command=("python3", "-m", "engine"),
            network=True,
            paths=(Shared(tmp_path, False), Shared(tmp_path, True)),
            env=frozenset({"MODEL_DIR"}),
        ),
        "other": Image(("sh",)),
    }
    runs = b"engine:1.4: {image: 'registry.example.org/engine:1.4', network: true}"
    assert images.parse(runs, "images.yaml") == {
        "engine:1.4": Image(network=True, runs="registry.example.org/engine:1.4")
    }
    assert images.parse(b"", "images.yaml") == {}


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("- engine", 1, "keys and values"),
        ("engine: [sh]", 1, "keys and values"),
        ("engine: {}", 1, "a command is expected"),
        ("engine: {command: [sh], image: x}", 1, "a command is expected here"),
        ("engine:\n  image: --privileged", 2, "the name of an image is expected"),
        ("engine:\n  command: sh", 2, "a list"),
        ("engine:\n  command: []", 2, "a program is expected"),
        ("engine:\n  command: [sh, 1]", 2, "text is expected"),
        ("engine:\n  command: [bin/engine]", 2, "the absolute path of a program"),
        ("engine:\n  command: [/nowhere/engine]", 2, "the absolute path of a program"),
        ("engine:\n  command: [sh]\n  network: yes", 3, "true or false"),
        ("engine:\n  command: [sh]\n  paths: [data]", 3, "an absolute path"),
        ("engine:\n  command: [sh]\n  paths: [/nowhere/data]", 3, "no such path"),
        ("engine:\n  command: [sh]\n  env: [A B]", 3, "the name of a variable"),
        ("engine:\n  command: [sh]\n  comand: [sh]", 3, "did you mean 'command'"),
        ("engine: {command: [sh]}\nengine: {command: [ls]}", 2, "a second time"),
    ],
)
def test_a_slip_is_named_by_its_line(text: str, line: int, expected: str) -> None:
    with pytest.raises(DocumentError) as caught:
        images.parse(text.encode(), "images.yaml")
    assert str(caught.value).startswith(f"images.yaml, line {line}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_private_to_the_worker_is_lent_to_nobody(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    for path in (tmp_path, tmp_path / "work"):
        with pytest.raises(DocumentError, match="private to the worker"):
            images.parse(f"a: {{command: [sh], paths: [{path}]}}".encode(), "images.yaml", [tmp_path / "work"])


def test_it_is_read_again_and_what_is_wrong_then_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "images.yaml"
    consent = Consent("org-1", None, tmp_path / "decisions.yaml", file)
    with pytest.raises(DocumentError, match=r"images\.yaml"):
        consent.check()
    file.write_text("engine: {command: [sh]}")
    consent.check()
    assert list(consent.images) == ["engine"]
    file.write_text("engine: {command: [sh]}\nother: {command: [sh]}")
    assert list(consent.images) == ["engine", "other"]
    file.write_text("engine: {}\n# and more")
    with capture_logs() as logs:
        assert list(consent.images) == ["engine", "other"]
    assert [(line["event"], "line 1" in line["error"]) for line in logs] == [("images.not_reloaded", True)]


def test_a_process_that_saw_no_good_map_runs_no_image(tmp_path: Path) -> None:
    (tmp_path / "images.yaml").write_text("engine: {}")
    assert Consent("org-1", None, tmp_path / "decisions.yaml", tmp_path / "images.yaml").images == {}
