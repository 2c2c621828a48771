"""Functions that keep, run, say or plant too much: what is limited, removed and never served."""

import os
import socket
import uuid
from pathlib import Path

import pytest

from orchestrator.removal import remove
from workers.assets.store import AssetStore
from workers.errors import ExecutionFault
from workers.executors.executor import Ending, Outcome, Resource
from workers.run import outputs

from .contained import EXECUTORS, Contained, limited, processes_with


def test_300_processes(tmp_path: Path) -> None:
    contained, mark = Contained(tmp_path), uuid.uuid4().hex
    source = f"""
    for _ in range(300):
        subprocess.Popen(["sh", "-c", "sleep 600; : {mark}"], start_new_session=True)
    time.sleep(600)
    """
    outcome = contained.run(source, limited(processes=50))
    assert outcome.ending is Ending.EXCEEDED or "temporarily unavailable" in contained.log.read_text()
    if outcome.ending is Ending.EXCEEDED:
        assert outcome.reason == "the function was ended: it ran more than 50 processes and threads at once"
    assert not processes_with(mark)


def test_the_kernel_limits_the_processes_too(tmp_path: Path) -> None:
    """Between two looks of ours; asked, not tried, since it does not stop who is root outside."""
    contained = Contained(tmp_path)
    source = "import resource; (outputs / 'found').write_text(json.dumps(resource.getrlimit(resource.RLIMIT_NPROC)))"
    assert contained.run(source, limited(processes=50)) == Outcome(Ending.EXITED, 0)
    assert contained.found() == [50, 50]


@pytest.mark.parametrize("kind", EXECUTORS)
@pytest.mark.parametrize(
    "source",
    [
        pytest.param("[(outputs / str(n)).write_bytes(bytes(1_000_000)) for n in range(50)]", id="in-outputs"),
        pytest.param(
            "[open(tempfile.mkstemp()[1], 'wb').write(bytes(1_000_000)) for _ in range(50)]; time.sleep(600)",
            id="in-temporary-files",
        ),
        pytest.param(
            "files = [tempfile.TemporaryFile() for _ in range(50)]\n"
            "[(file.write(bytes(1_000_000)), file.flush()) for file in files]; time.sleep(600)",
            id="in-files-without-a-name",
        ),
    ],
)
def test_50_files_that_are_too_much_together(tmp_path: Path, kind: str, source: str) -> None:
    outcome = Contained(tmp_path, kind).run(source, limited(folder_size=10_000_000))
    assert outcome.ending is Ending.EXCEEDED
    assert outcome.reason == "the function was ended: it kept more than 10000000 bytes in its folders"


def test_too_many_files(tmp_path: Path) -> None:
    source = "[(outputs / str(n)).touch() for n in range(2000)]; time.sleep(600)"
    outcome = Contained(tmp_path).run(source, limited(folder_files=1000))
    assert outcome.reason == "the function was ended: it kept more than 1000 files in its folders"


def test_memory_as_files_is_limited(tmp_path: Path) -> None:
    contained = Contained(tmp_path)
    assert contained.run("open('/dev/shm/x', 'wb').write(bytes(20_000_000))").exit_code == 1
    assert "No space left on device" in contained.log.read_text()


@pytest.mark.parametrize("kind", EXECUTORS)
def test_a_log_that_is_too_long_is_cut_and_the_function_goes_on(tmp_path: Path, kind: str) -> None:
    contained = Contained(tmp_path, kind)
    source = "print('the beginning'); [print('x' * 9999) for _ in range(2000)]; print('the end')"
    assert contained.run(source, limited(log_size=1_000_000)) == Outcome(Ending.EXITED, 0)
    text = contained.log.read_text()
    assert text.startswith("the beginning\n")
    assert text.endswith("the end\n")
    said = len("the beginning\n" + "the end\n") + 2000 * 10_000
    (note,) = [line for line in text.splitlines() if "are cut from this log" in line]
    assert note == f"[{said - 1_000_000} bytes are cut from this log here: it may have 1000000]"
    assert contained.log.stat().st_size == 1_000_000 + len(note) + 2


NESTED = """
for _ in range(3000):
    os.mkdir("d" * 100)
    os.chdir("d" * 100)
"""


def test_3000_nested_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "attempt").mkdir()
    contained = Contained(tmp_path / "attempt")
    outcome = contained.run(f"os.chdir(outputs){NESTED}open('file', 'w').close()")
    assert outcome.reason.startswith("the function was ended: what it keeps in its folders cannot be measured")
    remove(contained.folder)
    assert not list(tmp_path.iterdir())


def test_whatever_lies_in_a_folder_is_removed(tmp_path: Path) -> None:
    folder, kept = tmp_path / "folder", tmp_path / "kept"
    (folder / "locked" / "deep" / "er").mkdir(parents=True)
    kept.mkdir()
    (kept / "file").touch()
    (folder / "to a folder").symlink_to(kept)
    (folder / "locked" / "deep" / "to a folder").symlink_to(kept)
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "locked" / "pipe")
    (folder / "locked" / "no\nname \x1b[2J").touch()
    Path(os.fsdecode(os.fsencode(folder / "locked") + b"/\xff\xfe")).mkdir()
    for path in (folder / "locked" / "deep" / "er", folder / "locked" / "deep", folder / "locked", folder):
        path.chmod(0)
    remove(folder)
    remove(folder)
    assert [path.name for path in kept.iterdir()] == ["file"]
    (tmp_path / "link").symlink_to(kept)
    remove(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


PLANTED = {
    "a link": lambda path, other: path.symlink_to(other),
    "a pipe": lambda path, other: os.mkfifo(path),
    "a folder": lambda path, other: path.mkdir(),
    "a link, a socket or a device": lambda path, other: socket.socket(socket.AF_UNIX).bind(os.fspath(path)),
    "a file with other names (hard links) elsewhere": lambda path, other: os.link(other, path),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("what", PLANTED)
def test_what_is_no_file_of_its_own_is_no_output(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "data of somebody else"
    other.write_text('{"all": 1}')
    output = Resource("model", Path("0"), False)
    PLANTED[what](output.path, other)
    with pytest.raises(ExecutionFault, match="output 'model' is") as fault:
        outputs.check([output], 1000)
    assert what in str(fault.value)
    with pytest.raises(OSError, match=what.partition("(")[0]):
        AssetStore(str(tmp_path / "store")).put("models/x", output.path)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("what", [each for each in PLANTED if "hard links" not in each])
def test_what_is_planted_in_a_store_is_not_served(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    Path("models").mkdir()
    PLANTED[what](Path("models/x"), secret)
    with pytest.raises(FileNotFoundError):
        AssetStore(str(tmp_path)).open("models/x")
