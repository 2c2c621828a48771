"""What COPY, ADD and mounts put into an image: files of the function's archive, and of the Dockerfile itself."""

import fnmatch
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from e2b_dockerfile_utils import DockerfileHeredoc, DockerfileInstruction, chomp_heredoc_content

from workers.functions.stage import File, Stage

_FLAGS = ("--chown", "--chmod", "--link")
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_INTO_FOLDER = "put it into the function's folder"
_LONGEST = 16 * 1024 * 1024
_ADDRESS = re.compile(r"[a-z]+://|git@")


def copy(stage: Stage, instruction: DockerfileInstruction, words: list[str], written: Path) -> None:
    """Do what a COPY or ADD does.

    Args:
        stage: where.
        instruction: the line.
        words: its arguments, expanded.
        written: a folder for files whose content stands in the Dockerfile.

    Raises:
        BuildFault: it cannot be done here.
    """
    mode = _mode(stage, instruction.flags)
    if len(words) < 2:
        raise stage.refuse("it names no target")
    *sources, target = words
    place = stage.at(target)
    bodies = {(f"<<{'-' if each.chomp else ''}{each.name}"): each for each in instruction.heredocs}
    into = target.endswith(("/", "/.")) or target in (".", "..") or len(sources) > 1 or stage.is_folder(place)
    for source in sources:
        if source.replace('"', "").replace("'", "") in bodies:
            body = bodies[source.replace('"', "").replace("'", "")]
            _write(stage, body, place / body.name if into else place, written, mode)
            continue
        if _ADDRESS.match(source):
            raise stage.refuse("it fetches from an address, and only what lies in the function's folder is here")
        if instruction.name == "ADD" and source.endswith(_ARCHIVES):
            raise stage.refuse("it unpacks an archive; put its files into the function's folder")
        found = _found(stage, source)
        if not found:
            raise stage.refuse(f"there is no {source} in the function's archive", _INTO_FOLDER)
        for each in found:
            _place(stage, each, place, into or len(found) > 1, mode)


def _mode(stage: Stage, flags: Iterable[str]) -> str:
    mode = ""
    for flag in flags:
        name, _, value = flag.partition("=")
        if name == "--from":
            raise stage.refuse(f"it copies from {value}, and only what lies in the function's folder is here")
        if name not in _FLAGS:
            raise stage.refuse(f"{name} is not known here")
        mode = value if name == "--chmod" else mode
    return mode


def _found(stage: Stage, source: str) -> list[Path]:
    """Return the files and folders of the archive that a source names, which may have wildcards."""
    parts = [part for part in PurePosixPath(source.lstrip("/")).parts if part != "."]
    if ".." in parts:
        raise stage.refuse(f"{source} lies outside of the function's archive", _INTO_FOLDER)
    found = [stage.context]
    for part in parts:
        if re.search(r"[*?\[\\]", part):
            found = [
                each
                for folder in found
                if folder.is_dir()
                for each in sorted(folder.iterdir())
                if fnmatch.fnmatchcase(each.name, part)
            ]
        else:
            found = [folder / part for folder in found if (folder / part).exists()]
    return found


def _place(stage: Stage, source: Path, target: PurePosixPath, into: bool, mode: str) -> None:
    if source.is_dir():
        stage.made(target)
        for file in sorted(source.rglob("*")):
            inside = target / file.relative_to(source).as_posix()
            if file.is_dir():
                stage.made(inside)
            else:
                stage.put(inside, File(file, _executable(file, mode), stage.line))
    else:
        stage.put(target / source.name if into else target, File(source, _executable(source, mode), stage.line))


def _write(stage: Stage, body: DockerfileHeredoc, target: PurePosixPath, written: Path, mode: str) -> None:
    written.mkdir(exist_ok=True)
    file = written / f"{len(list(written.iterdir()))}{target.suffix}"
    content = chomp_heredoc_content(body.content) if body.chomp else body.content
    file.write_text(expanded(stage, content) if body.expand else content, encoding="utf-8")
    stage.put(target, File(file, _executable(file, mode), stage.line))


def mounts(stage: Stage, instruction: DockerfileInstruction) -> list[tuple[PurePosixPath, File]]:
    """Return the files that a RUN sees for its own time.

    Args:
        stage: where.
        instruction: the line.

    Raises:
        BuildFault: they are not here.
    """
    found = []
    for flag in instruction.flags:
        name, _, value = flag.partition("=")
        if name in ("--network", "--security"):
            continue
        if name != "--mount":
            raise stage.refuse(f"{name} is not known here")
        said = dict(pair.partition("=")[::2] for pair in value.split(","))
        kind = said.get("type", "bind")
        if kind in ("cache", "tmpfs"):
            continue
        target = said.get("target") or said.get("dst") or said.get("destination")
        if kind != "bind" or "from" in said or target is None:
            raise stage.refuse(f"it mounts {value}, and only what lies in the function's folder is here")
        source = stage.context / said.get("source", said.get("src", ".")).lstrip("/")
        if ".." in source.parts or not source.exists():
            raise stage.refuse(f"there is no {said.get('source')} in the function's archive", _INTO_FOLDER)
        place = stage.at(target)
        for each in [source] if source.is_file() else source.rglob("*"):
            if each.is_file():
                found.append((place / each.relative_to(source).as_posix(), File(each, False, stage.line)))
    return [(path, file) for path, file in found if path not in stage.files]


def expanded(stage: Stage, text: str) -> str:
    """Return a text of the Dockerfile with its variables replaced, its quotation marks left alone.

    Raises:
        BuildFault: it becomes too long.
    """
    known = {**stage.arguments, **stage.variables}
    size = len(text) + sum(len(known.get(match[1] or match[2], "")) for match in _VARIABLE.finditer(text))
    if size > _LONGEST:
        raise stage.refuse(f"it is longer than {_LONGEST} characters once its variables are replaced")
    return _VARIABLE.sub(lambda match: known.get(match[1] or match[2], ""), text)


def _executable(file: Path, mode: str) -> bool:
    if mode.isdigit():
        return bool(int(mode[-3:], 8) & 0o111) if set(mode) <= set("01234567") else False
    return "+x" in mode or bool(file.stat().st_mode & 0o100)
