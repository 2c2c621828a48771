"""What an administrator sees of a foreign function, and of what waits."""

from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.cli import archive
from orchestrator.cli.declines import grouped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "evil.py").write_text("x = 1 \x1b]0;approved\x07\x9b31m\n\ty = 2\r\n")
    (tmp_path / "Dockerfile").write_text("FROM python\n")
    (tmp_path / "model.bin").write_bytes(b"\x00\xff")
    (tmp_path / "run.sh").write_text("true\n")
    (tmp_path / "run.sh").chmod(0o755)
    return tmp_path


def test_the_files_are_named_with_what_they_are(folder: Path):
    assert [(file.name, file.size, file.kind) for file in archive.files(folder)] == [
        ("Dockerfile", 12, "text"),
        ("a/evil.py", 33, "text"),
        ("model.bin", 2, "binary"),
        ("run.sh", 5, "executable text"),
    ]


def test_texts_are_printed_the_dockerfile_first_and_steer_no_terminal(folder: Path, capsys: pytest.CaptureFixture[str]):
    archive.print_texts(folder)
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line.startswith("---")] == [
        "--- Dockerfile",
        "--- a/evil.py",
        "--- run.sh",
    ]
    assert not set(printed) & {"\x1b", "\x07", "\x9b", "\r"}
    assert "\ty = 2" in printed


def test_a_long_text_is_cut_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "long.py").write_text("é" * 200_000)
    archive.print_texts(tmp_path)
    assert capsys.readouterr().out.endswith("bytes; --into DIR unpacks the whole file\n")


def test_what_waits_for_the_same_is_one_group():
    same = {"worker": "b", "function_key": "f", "compute_plan_key": "p", "reason": "b has not approved \x1bx"}
    groups = grouped([pb.Decline(compute_task_key=key, **same) for key in "abc"] + [pb.Decline(reason="other")])
    assert [(group.tasks, group.line) for group in groups] == [
        (3, "3 tasks wait: b has not approved \N{REPLACEMENT CHARACTER}x"),
        (1, "1 task waits: other"),
    ]
