"""What a Dockerfile may do that an engine follows: the images that it is made of, and the network.

The engine fetches what a Dockerfile names, and runs its commands; the data is not there yet, but the machine is. So
each image is one that the consent policy admits, and without its word nothing but those comes from the network.
"""

import re
from collections.abc import Iterable

from e2b_dockerfile_utils import DockerfileAst, DockerfileInstruction, ShellLex

from workers.consent import references
from workers.errors import BuildFault
from workers.functions import dockerfile

_SYNTAX = re.compile(r"(?:#|//)\s*syntax\s*=", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://|git@)|.*\.git(?:#.*)?$")
# Of RUN and COPY: what only says how, not from where.
_HARMLESS = frozenset({"--chown", "--chmod", "--link", "--parents", "--exclude", "--checksum", "--keep-git-dir"})
_MOUNTS = frozenset({"cache", "tmpfs"})
_SCRATCH = "scratch"


def check(text: str, images: Iterable[str], network: bool) -> list[str]:
    """See to it that a Dockerfile is made of what is admitted alone; return the images that it is made of.

    Args:
        text: of the file.
        images: that the consent policy admits (see `references.admitted`).
        network: whether its commands may use the network.

    Raises:
        BuildFault: it names another image, or fetches something else; names the line.
    """
    for line in text.removeprefix("\ufeff").splitlines():
        if _SYNTAX.match(line.strip()):
            raise BuildFault(
                "the function's Dockerfile names a program that is to read it (`# syntax=`), which would be run with "
                "all rights of the build; leave that line out"
            )
        if line.strip() and not line.lstrip().startswith("#"):
            break
    return _Checked(dockerfile.parse(text), tuple(images), network).check()


class _Checked:
    """One Dockerfile that is looked through."""

    def __init__(self, parsed: DockerfileAst, images: tuple[str, ...], network: bool) -> None:
        self._parsed = parsed
        self._images = images
        self._network = network
        self._globals: dict[str, str] = {}
        self._stages: list[str] = []
        self._found: list[str] = []

    def check(self) -> list[str]:
        for instruction in self._parsed.instructions:
            name = instruction.name
            if name == "ARG" and not self._stages:
                for word in instruction.args:
                    known, equals, value = word.partition("=")
                    if equals:
                        self._globals[known] = self._expanded(instruction, value)
            elif name == "FROM":
                self._from(instruction)
            elif name == "RUN":
                self._run(instruction)
            elif name in ("COPY", "ADD"):
                self._copy(instruction)
            elif name == "ONBUILD":
                raise _refused(instruction, "it is for images that are made of this one")
        return self._found

    def _from(self, instruction: DockerfileInstruction) -> None:
        if not instruction.args:
            raise _refused(instruction, "it names no image")
        if any(not flag.startswith("--platform=") for flag in instruction.flags):
            raise _refused(instruction, "only --platform is known here")
        self._image(instruction, self._expanded(instruction, instruction.args[0]))
        words = [word.lower() for word in instruction.args]
        self._stages.append(words[2] if len(words) == 3 and words[1] == "as" else "")

    def _run(self, instruction: DockerfileInstruction) -> None:
        for flag in instruction.flags:
            name, _, value = flag.partition("=")
            if name == "--network" and value in ("none", "default"):
                continue
            if name != "--mount":
                raise _refused(instruction, f"{name} is not done here")
            mount = dict(part.partition("=")[::2] for part in value.split(","))
            if "from" in mount:
                self._image(instruction, mount["from"])
            elif mount.get("type", "bind") not in (*_MOUNTS, "bind"):
                raise _refused(instruction, f"a mount of the type {mount['type']} is not given here")

    def _copy(self, instruction: DockerfileInstruction) -> None:
        for flag in instruction.flags:
            name, _, value = flag.partition("=")
            if name == "--from":
                self._image(instruction, value)
            elif name not in _HARMLESS:
                raise _refused(instruction, f"{name} is not done here")
        sources = instruction.args[:-1] if instruction.name == "ADD" else ()
        if not self._network and any(_ADDRESS.match(word) or "$" in word for word in sources):
            raise _refused(instruction, "what it adds may come from the network, which this Dockerfile may not use")

    def _image(self, instruction: DockerfileInstruction, name: str) -> None:
        """Go on only with an image that is admitted, or a stage before."""
        if "$" in name:
            raise _refused(instruction, "it names an image by a variable")
        before = name.lower()
        is_stage = before in self._stages or (before.isdecimal() and int(before) < len(self._stages))
        if name == _SCRATCH or (is_stage and before):
            return
        if not references.admitted(name, self._images):
            raise _refused(
                instruction,
                f"the image {name} is none of those on which functions are built here; have it named under `images` in "
                "this organization's consent policy",
            )
        if name not in self._found:
            self._found.append(name)

    def _expanded(self, instruction: DockerfileInstruction, text: str) -> str:
        lex = ShellLex(self._parsed.escape_token, env=self._globals, skip_unset_env=False)
        try:
            return lex.process_word(text)
        except ValueError as error:
            raise _refused(instruction, str(error)) from error


def _refused(instruction: DockerfileInstruction, why: str) -> BuildFault:
    return BuildFault(
        f"line {instruction.start_line} of the function's Dockerfile, {dockerfile.shown(instruction)!r}, is not "
        f"followed here: {why}"
    )
