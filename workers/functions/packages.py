"""Reads what a `pip install` of a Dockerfile asks for: its options, its requirements, its files of requirements."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_LARGEST = 1024 * 1024
_DEEPEST = 10
_COMMENT = re.compile(r"(^|\s)#.*$")
_WHEEL = re.compile(r"[A-Za-z0-9_.+!]+(?:-[A-Za-z0-9_.+!]+){4,5}\.whl")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_HASH = re.compile(r"\s--hash[=\s]\s*(\w+:[0-9a-fA-F]+)")
_DIRECT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*@\s*(\S+)")
_ADDRESS = re.compile(r"(?:[a-z]+\+)?[a-z][a-z0-9]*://|git@|(?:git|hg|svn|bzr)\+")
# Options with a value, by what becomes of them.
_INDEXES = frozenset(
    {"-i", "--index", "--default-index", *(f"--{name}-url" for name in ("index", "extra-index", "pypi"))}
)
_PASSED_OVER_VALUES = frozenset(
    """
    --timeout --default-timeout --retries --cache-dir --progress-bar --log --trusted-host --cert --python
    --link-mode --upgrade-strategy --root-user-action --use-feature --exists-action --only-binary --prerelease
    --index-strategy --report --keyring-provider --resume-retries -p
    """.split()  # noqa: SIM905
)
_PASSED_OVER = frozenset(
    """
    -q --quiet -v --verbose -qq -vv -qqq -vvv --no-cache-dir --no-cache -n --user --system
    --force-reinstall --break-system-packages --disable-pip-version-check --no-warn-script-location --no-compile
    --compile --no-input --prefer-binary --compile-bytecode --no-color --no-clean --isolated --reinstall -I
    --ignore-installed --no-progress --no-warn-conflicts --no-python-version-warning --strict --exact --no-build
    --native-tls --system-certs -y --yes
    """.split()  # noqa: SIM905
)
_KEPT = {
    "--no-deps": "--no-deps",
    "--require-hashes": "--require-hashes",
    "--pre": "--prerelease=allow",
    "-U": "--upgrade",
    "--upgrade": "--upgrade",
}
_ELSEWHERE = frozenset({"-t", "--target", "--prefix", "--root", "--src"})
_SOURCES = frozenset({"--no-binary", "--no-build-isolation", "-C", "--config-settings", "--global-option"})


class AskedError(ValueError):
    """Something is asked for that is not installed here; the message says what, and why not."""


@dataclass
class Install:
    """What one `pip install` asks for.

    Args:
        requirements: lines of a file of requirements: names, versions, extras, markers, hashes.
        constraints: likewise, of what is not asked for by itself.
        wheels: files of the function's archive.
        sources: files and folders of the archive that a wheel would be built from.
        options: of the installer, for all of it.
        indexes: addresses that it names.
        line: of the Dockerfile.
    """

    requirements: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    wheels: list[Path] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    line: int = 0


class Asking:
    """Reads what is asked for.

    Args:
        find: from a path, as it is written, and the file that it is written in (None: the Dockerfile), to the file of
            the archive that would be there; None where there is none.
        variables: for `${NAME}` in files.
    """

    def __init__(self, find: Callable[[str, Path | None], Path | None], variables: Callable[[str], str | None]) -> None:
        self._find = find
        self._variables = variables
        self._install = Install()

    def read(self, words: Sequence[str]) -> Install:
        """Return what a command asks for.

        Args:
            words: after `pip install`.

        Raises:
            AskedError: something in it is not installed here.
        """
        self._install = Install()
        self._arguments(words, None, 0)
        return self._install

    def _arguments(self, words: Sequence[str], file: Path | None, depth: int) -> None:
        left = iter(words)
        for word in left:
            if word == "--":
                continue
            if not word.startswith("-"):
                self._requirement(word, file, self._install.requirements)
                continue
            name, equals, value = word.partition("=")
            if not word.startswith("--") and len(word) > 2 and word[:2] in ("-r", "-c", "-e", "-i", "-f"):
                name, equals, value = word[:2], "=", word[2:]
            self._option(name, partial(_value, word, value, equals, left), file, depth)

    def _option(self, name: str, value: Callable[[], str], file: Path | None, depth: int) -> None:
        if name in ("-r", "--requirement", "--requirements"):
            self._file(value(), file, self._install.requirements, depth)
        elif name in ("-c", "--constraint", "--constraints", "--override", "--overrides", "--build-constraint"):
            self._file(value(), file, self._install.constraints, depth)
        elif name in _INDEXES:
            self._install.indexes.append(value())
        elif name in ("-f", "--find-links", "--no-index"):
            if name != "--no-index":
                value()
        elif name in ("-e", "--editable"):
            self._wheel(value().removeprefix("file:"), file, self._install.requirements)
        elif name in _SOURCES:
            raise AskedError(f"{name} asks for a build from a source: {_WHEELS}")
        elif name in _ELSEWHERE:
            raise AskedError(f"{name} puts packages where the function's Python would not look for them")
        elif name in _KEPT:
            self._install.options.append(_KEPT[name])
        elif name in _PASSED_OVER_VALUES:
            value()
        elif name not in _PASSED_OVER:
            raise AskedError(f"the option {name} is not known here")

    def _file(self, path: str, file: Path | None, kept: list[str], depth: int) -> None:
        if depth >= _DEEPEST:
            raise AskedError(f"files of requirements name each other more than {_DEEPEST} deep")
        if _ADDRESS.match(path):
            raise AskedError(f"{hidden(path)} is an address; put that file into the function's folder")
        found = self._find(path, file)
        if found is None or not found.is_file():
            raise AskedError(f"{path} is not there: copy it from the function's folder before")
        if found.stat().st_size > _LARGEST:
            raise AskedError(f"{path} is larger than {_LARGEST} bytes")
        text = found.read_bytes().decode("utf-8-sig", errors="replace")
        for line in _lines(text):
            line = _VARIABLE.sub(lambda match: self._variables(match[1]) or match[0], line)
            try:
                if line.startswith("-"):
                    name, _, rest = line.partition(" ")
                    self._arguments([name, rest.strip()] if rest.strip() else [name], found, depth + 1)
                else:
                    self._requirement(line, found, kept)
            except AskedError as error:
                raise AskedError(f"{path} says {hidden(line)!r}: {error}") from error

    def _requirement(self, text: str, file: Path | None, kept: list[str]) -> None:
        hashes = _HASH.findall(f" {text}") if "--hash" in text else []
        plain = _HASH.sub("", text).strip()
        if "$" in plain:
            # The installer would replace it by what it has of its own.
            raise AskedError(f"{plain!r} names a variable that is not set")
        direct = _DIRECT.match(plain)
        address = direct[2] if direct else plain.partition(";")[0].strip()
        local = address.removeprefix("file:").removeprefix("//")
        if not address.startswith("file:") and _ADDRESS.match(address):
            raise AskedError(
                f"{hidden(address)!r} is an address, and packages come from the worker's index alone; put the wheel "
                "into the function's folder"
            )
        if address.startswith("file:") or direct or _is_path(address):
            self._wheel(local, file, kept)
            return
        try:
            requirement = Requirement(plain)
        except InvalidRequirement as error:
            raise AskedError(f"{plain!r} is no requirement: {str(error).partition(chr(10))[0]}") from error
        if canonicalize_name(requirement.name) != "pip":
            kept.append(" ".join([str(requirement), *(f"--hash={each}" for each in hashes)]))

    def _wheel(self, path: str, file: Path | None, kept: list[str]) -> None:
        if _ADDRESS.match(path):
            raise AskedError(f"{hidden(path)!r} is an address; put what is there into the function's folder")
        found = self._find(path.partition("[")[0], file)
        if found is None:
            raise AskedError(f"{path} is not there: copy it from the function's folder before")
        if kept is self._install.requirements:
            is_wheel = found.suffix == ".whl" and found.is_file()
            if is_wheel and not _WHEEL.fullmatch(found.name):
                raise AskedError(f"{found.name!r} is no name of a wheel")
            (self._install.wheels if is_wheel else self._install.sources).append(found)


_WHEELS = "only wheels are installed; build one, and put it into the function's folder"


def _value(word: str, value: str, equals: str, left: Iterator[str]) -> str:
    if equals:
        return value
    try:
        return next(left)
    except StopIteration:
        raise AskedError(f"nothing follows {word}") from None


def _is_path(text: str) -> bool:
    return text.startswith((".", "/")) or text.endswith((".whl", ".tar.gz", ".zip", ".tar.bz2")) or "/" in text


def _lines(text: str) -> Iterator[str]:
    joined = re.sub(r"\\\r?\n", "", text)
    for line in joined.splitlines():
        if plain := _COMMENT.sub("", line).strip():
            yield plain


def hidden(text: str) -> str:
    """Return a text without what a URL in it may hide: it is shown to others."""
    return re.sub(r"//[^/@\s]*@", "//…@", text)


def relative(path: str, folder: PurePosixPath) -> PurePosixPath:
    """Return where a path leads from a folder of an image, without `.` and `..`."""
    parts: list[str] = []
    for part in (folder / path).parts[1:]:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return PurePosixPath("/", *parts)
