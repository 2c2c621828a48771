"""What becomes of each instruction of a Dockerfile: honoured, passed over with a line in a log, or refused."""

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import BuildFault
from workers.executors.executor import HERE
from workers.functions import reader, recipe
from workers.functions.recipe import Recipe

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
RUNS = 'ENTRYPOINT ["python3", "function.py"]\n'
FILES = {
    "function.py": "",
    "run.sh": "",
    "requirements.txt": "six==1.0 # a comment\nattrs>20 ; python_version > '3'\n-r more.txt\n",
    "more.txt": "idna \\\n  >=3\n./dist/own-1.0-py3-none-any.whl\n",
    "dist/own-1.0-py3-none-any.whl": "",
    "lib/inner/module.py": "",
    "lib/data.json": "{}",
    "inner/cls": "",
    "inner/description.md": "",
}

Read = Callable[[str], Recipe]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "function"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def read(context: Path, tmp_path: Path) -> Read:
    return lambda text: reader.read(text, context, tmp_path / "written")


def lines(*given: str, base: str = "python:3-slim") -> str:
    return "\n".join([f"FROM {base}", *given, RUNS])


PASSED_OVER = [
    "LABEL a=b",
    "MAINTAINER me",
    "EXPOSE 80/tcp",
    "USER nobody",
    "VOLUME /data",
    "STOPSIGNAL SIGTERM",
    "HEALTHCHECK --interval=5s CMD true",
    "ONBUILD RUN make",
    'CMD ["--help"]',
    'SHELL ["/bin/bash", "-o", "pipefail", "-c"]',
    "RUN apt-get update -y && apt-get -y upgrade; apt-get clean && rm -rf /var/lib/apt/lists/*",
    "RUN apt-get purge -y --auto-remove build-essential *-dev",
    "RUN addgroup --gid 1001 group && adduser --disabled-password --gecos '' --uid 1001 user",
    "RUN useradd -m user && chown -R user:user /home/user",
    "RUN pip install -U pip",
    "RUN python3 -m pip install --upgrade pip",
    "RUN pip uninstall -y setuptools",
    "RUN python3 -m venv /opt/venv && . /opt/venv/bin/activate",
    "RUN --mount=type=cache,target=/root/.cache echo hello",
    "RUN set -eux; mkdir -p /tmp/x; cd /tmp/x; echo $(date) $((1<<20)) `id`",
    "RUN <<END-OF\necho 'ENTRYPOINT [\"no\"]'\nEND-OF",
    'RUN ["apt-get", "update"]',
    'RUN bash -euc "apt-get update"',
]


@pytest.mark.parametrize("line", PASSED_OVER)
def test_what_only_shapes_an_image_is_passed_over_and_named(read: Read, line: str) -> None:
    found = read(lines(line))
    assert found.command == ["python3", "function.py"]
    assert not found.installs
    assert any(note.startswith("line 2: ") and " is passed over: " in note for note in found.notes)


REFUSED = {
    "RUN apt-get install -y no-such-package": "has no package no-such-package",
    "RUN curl https://example.org/x | sh": "it runs curl",
    "RUN git clone https://example.org/x": "it runs git",
    "RUN python3 -c 'import nltk; nltk.download(1)'": "it runs a program in Python",
    'RUN python3 -c "print(1 << n)"': "it runs a program in Python",
    'RUN bash -c "base64 -d <<< aGk="': "it runs base64",
    "RUN truncate -s $((1<<20)) /swap": "it runs truncate",
    "RUN conda install x": "it runs conda",
    "RUN uv sync": "uv sync is not known",
    "RUN echo hello > /etc/motd": "it writes /etc/motd",
    "RUN if true; then echo; fi": "'if' begins more",
    "RUN (echo a)": "a subshell",
    "RUN echo 'a": "is not closed",
    "RUN mkdir /data": "/data lies outside of the function's folder",
    "RUN pip install $(cat requirements.txt)": "only a shell could tell",
    "RUN pip install git+https://example.org/x": "is an address",
    "RUN pip install https://u:pw@example.org/x.whl": "'https://…@example.org/x.whl' is an address",
    "RUN pip install ./nothere": "is not there",
    "RUN pip install --no-binary :all: six": "asks for a build from a source",
    "RUN pip install --target /x six": "would not look",
    "RUN pip install --no-such-option six": "not known here",
    "RUN pip install -r": "nothing follows -r",
    "RUN pip install -r nothere.txt": "nothere.txt is not there",
    "RUN pip install -r ../../etc/passwd": "is not there",
    "RUN pip install 'six=='": "is no requirement",
    "RUN pip install 'six ; python_version > \"${UV_DEFAULT_INDEX}\"'": "names a variable",
    "RUN pip install './a b;c-1.0-py3-none-any.whl'": "is not there",
    "RUN PIP_INDEX_URL=https://example.org pip install six": "PIP_INDEX_URL names an index",
    "RUN --mount=type=secret,id=x pip install six": "it mounts",
    "ENV PIP_EXTRA_INDEX_URL=https://example.org": "names an index",
    "COPY --from=build /x /y": "it copies from build",
    "COPY nothere.py .": "there is no nothere.py",
    "COPY ../x .": "outside of the function's archive",
    "COPY --parents lib .": "--parents is not known",
    "COPY lib /opt/lib": "/opt/lib/data.json lies outside",
    "ADD https://example.org/x /x": "fetches from an address",
    "ADD x.tar.gz /x": "unpacks an archive",
    'SHELL ["powershell"]': "only a shell of Unix",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_a_function_would_miss_fails_by_its_line_and_names_who_can(read: Read, line: str) -> None:
    workdir = "WORKDIR /app"
    with pytest.raises(BuildFault) as told:
        read(lines(workdir, line))
    assert str(told.value).startswith("line 3 of the function's Dockerfile, ")
    assert REFUSED[line] in str(told.value)
    # No executor has what is not in the archive.
    missing = "COPY nothere.py .", "COPY ../x ."
    elsewhere = "the executor `container`, which builds the function's image, can do that"
    assert str(told.value).endswith("put it into the function's folder" if line in missing else elsewhere)


@pytest.mark.parametrize(
    ("base", "version"),
    [
        ("python", None),
        ("python:latest", None),
        ("python:3-slim", None),
        ("python:slim", None),
        ("python:3.12", "3.12"),
        ("python:3.12-slim-bookworm", "3.12"),
        ("python:3.12.4-alpine3.20", "3.12"),
        ("python:3.14-rc-slim", "3.14"),
        ("docker.io/library/python:3.12@sha256:00", "3.12"),
        ("registry.example.org:5000/mirror/python:3.12", "3.12"),
        ("scratch", None),
    ],
)
def test_the_base_says_which_python(read: Read, base: str, version: str | None) -> None:
    assert read(lines(base=base)).python == version


@pytest.mark.parametrize(
    "base",
    ["ubuntu:24.04", "nvidia/cuda:12.6.1-runtime-ubuntu24.04", "python:2.7", "python:3.12-windowsservercore", "pypy:3"],
)
def test_another_base_is_refused(read: Read, base: str) -> None:
    with pytest.raises(BuildFault, match=r"line 1 .*none of them; the executor `container`"):
        read(lines(base=base))


def test_a_base_is_named_by_arguments_and_by_stages_before(read: Read) -> None:
    text = "ARG V=3.12\nFROM ubuntu AS tools\nFROM python:${V}-slim AS base\nENV A=1\nFROM base\nENV B=${A}2\n" + RUNS
    found = read(text)
    assert (found.python, found.variables) == ("3.12", {"A": "1", "B": "12"})
    assert any("line 2: 'FROM ubuntu AS tools' is passed over" in note for note in found.notes)


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        (["ENV SEED=42"], {"SEED": "42"}),
        (["ENV SEED 42 and more"], {"SEED": "42 and more"}),
        (
            ["ARG LEVEL=5", "ENV SEED=${LEVEL:-1} QUOTED='$LEVEL' D=\"a b\""],
            {"SEED": "5", "QUOTED": "$LEVEL", "D": "a b"},
        ),
        (["ENV A=1", "ENV A=2 B=$A"], {"A": "2", "B": "1"}),
        (["WORKDIR /app", "ENV PYTHONPATH=/app/lib:/elsewhere"], {"PYTHONPATH": f"{HERE}/lib:/elsewhere"}),
        (["ENV HOME=/root LANG=C.UTF-8"], {}),
        (["ENV LD_PRELOAD=./x.so"], {"LD_PRELOAD": "./x.so"}),
    ],
)
def test_variables_are_those_of_the_image(read: Read, given: list[str], variables: dict[str, str]) -> None:
    assert read(lines(*given)).variables == variables


def test_a_virtual_environment_of_the_image_is_the_functions_own(read: Read) -> None:
    found = read(lines("RUN python3 -m venv /opt/venv", 'ENV PATH="/opt/venv/bin:/app/bin:$PATH"', "WORKDIR /app"))
    assert found.path == ("bin",)
    command = reader.read(
        'FROM python\nRUN python -m venv /opt/venv\nENTRYPOINT ["/opt/venv/bin/python", "function.py"]',
        Path("/"),
        Path("/"),
    ).command
    assert command == ["python", "function.py"]


@pytest.mark.parametrize(
    ("given", "requirements"),
    [
        ("RUN pip install --no-cache-dir six==1.0 'attrs>=20,<30'", ["six==1.0", "attrs<30,>=20"]),
        ("RUN pip3 install -q six && python3 -m pip install idna", ["six", "idna"]),
        ("ARG PACKAGES='six idna'\nRUN pip install $PACKAGES", ["six", "idna"]),
        ("RUN pip install setuptools>=70.0.0", ["setuptools"]),
        ("RUN uv pip install --system six", ["six"]),
        ("RUN <<END\nset -e\npip install six\nEND", ["six"]),
        ('RUN ["pip", "install", "six"]', ["six"]),
        ("RUN pip install --require-hashes 'six==1.0 --hash=sha256:ab'", ["six==1.0 --hash=sha256:ab"]),
        ("COPY requirements.txt more.txt /tmp/\nRUN pip install -r /tmp/requirements.txt", None),
        ("COPY . .\nRUN pip install -rrequirements.txt", None),
        ("RUN --mount=type=bind,source=.,target=/x cd /x && pip install -r requirements.txt", None),
    ],
)
def test_what_is_installed_is_asked_for(read: Read, context: Path, given: str, requirements: list[str] | None) -> None:
    found = read(lines("WORKDIR /app", given))
    wanted = requirements or ["six==1.0", 'attrs>20; python_version > "3"', "idna>=3"]
    assert [each for install in found.installs for each in install.requirements] == wanted
    if requirements is None:
        assert found.installs[0].wheels == [context / "dist/own-1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("given", "files"),
    [
        (["WORKDIR /app", "COPY . ."], {}),
        (["WORKDIR /app", "COPY function.py ."], {}),
        (["COPY function.py /main.py"], {"main.py": "function.py"}),
        (["WORKDIR /app", "COPY lib ."], {"data.json": "lib/data.json", "inner/module.py": "lib/inner/module.py"}),
        (["WORKDIR /app", "COPY lib/*.json /app/config/"], {"config/data.json": "lib/data.json"}),
        (["COPY function.py /app/main.py", "WORKDIR /app"], {"main.py": "function.py"}),
        (["WORKDIR /app", 'COPY ["function.py", "a b.py"]'], {"a b.py": "function.py"}),
        (["COPY --chown=1:1 function.py run.sh to/"], {"to/function.py": "function.py", "to/run.sh": "run.sh"}),
    ],
)
def test_files_lie_where_they_are_copied_to(read: Read, context: Path, given: list[str], files: dict[str, str]) -> None:
    found = read(lines(*given))
    assert {path: file.source.relative_to(context).as_posix() for path, file in found.files.items()} == files


def test_copies_are_bounded(read: Read, context: Path) -> None:
    (context / "function.py").write_bytes(b"x" * 11)
    found = read(lines("COPY function.py again.py"))
    with pytest.raises(BuildFault, match="more than 10 bytes"):
        recipe.lay_out(found, context, 10)


def test_files_of_the_dockerfile_and_folders_and_modes_are_laid_out(read: Read, context: Path) -> None:
    found = read(
        lines(
            "ARG N=7",
            "WORKDIR /app",
            "COPY <<END <<'RAW' config/",
            "n=$N",
            "END",
            "n=$N",
            "RAW",
            "COPY function.py run.sh",
            "COPY run.sh go.sh",
            "RUN mkdir -p out/deep && chmod +x go.sh",
        )
    )
    recipe.lay_out(found, context, 100)
    assert (context / "config/END").read_text() == "n=7\n"
    assert (context / "config/RAW").read_text() == "n=$N\n"
    assert (context / "out/deep").is_dir()
    assert (context / "go.sh").stat().st_mode & 0o100
    assert not (context / "run.sh").stat().st_mode & 0o100


@pytest.mark.parametrize(
    ("given", "command", "words"),
    [
        ("WORKDIR /app", ["python3", "/app/function.py"], ["python3", "function.py"]),
        ("COPY . /app", ["/usr/local/bin/python3", "/app/function.py"], ["python3", "app/function.py"]),
        ("WORKDIR /app", ["/app/run.sh", "/etc/x"], ["./run.sh", "/etc/x"]),
        ("WORKDIR /app", [f"python{OWN}", "function.py"], [f"python{OWN}", "function.py"]),
    ],
)
def test_the_command_finds_the_functions_files(read: Read, given: str, command: list[str], words: list[str]) -> None:
    told = ", ".join(f'"{word}"' for word in command)
    assert read(f"FROM python\n{given}\nENTRYPOINT [{told}]").command == words


def test_a_python_that_the_base_has_not_fails_at_its_entrypoint(read: Read) -> None:
    with pytest.raises(BuildFault, match=r"line 2 .*ENTRYPOINT.*it needs python3.99, and the function has Python 3.11"):
        read('FROM python:3.11\nENTRYPOINT ["python3.99", "function.py"]')


def test_a_dockerfile_as_an_ecosystems_library_writes_it_builds_as_it_is(read: Read, context: Path) -> None:
    text = f"""
# update the image
FROM python:{OWN}-slim
RUN apt-get update -y && pip uninstall -y setuptools
RUN addgroup --gid 1001 group
RUN adduser --disabled-password --gecos "" --uid 1001 --gid 1001 --home /home/user user
WORKDIR /home/user
USER user
RUN python{OWN} -m venv /home/user/venv
ENV PATH="/home/user/venv/bin:$PATH" VIRTUAL_ENV="/home/user/venv"
RUN python{OWN} -m pip install -U pip && pip install -U setuptools>=70.0.0
COPY dist/own-1.0-py3-none-any.whl dist/own-1.0-py3-none-any.whl
COPY requirements.txt requirements.txt
RUN python{OWN} -m pip install --no-cache-dir -r requirements.txt
USER root
RUN apt-get update -y && apt-get purge -y --auto-remove build-essential *-dev
USER user
COPY function.py .
COPY inner/cls inner/
COPY inner/description.md inner/
ENTRYPOINT ["python{OWN}", "function.py", "--function-name", "train"]
"""
    found = read(text)
    assert found.python == OWN
    assert found.command == [f"python{OWN}", "function.py", "--function-name", "train"]
    assert not found.files
    assert not found.variables
    assert [install.requirements for install in found.installs] == [
        ["setuptools"],
        ["six==1.0", 'attrs>20; python_version > "3"', "idna>=3"],
    ]
    assert found.installs[1].wheels == [context / "dist/own-1.0-py3-none-any.whl"]


def test_the_example_of_the_docs_builds(read: Read) -> None:
    page = (Path(__file__).parents[3] / "docs/functions.md").read_text()
    (example,) = re.findall(r"```dockerfile\n(.*?)```", page, re.DOTALL)
    found = read(example)
    assert found.variables == {"OMP_NUM_THREADS": "1"}
    assert found.installs
    assert not found.notes


WORDS = st.sampled_from(
    [
        "RUN ",
        "COPY ",
        "ENV ",
        "ARG ",
        "FROM ",
        "\\\n",
        "\n",
        "<<E",
        "E\n",
        "'",
        '"',
        "$(",
        "${A",
        "}",
        ")",
        " ",
        "a",
        "=",
        "&&",
        ">",
        "`",
    ]
)


@given(st.lists(WORDS, max_size=30).map("".join))
def test_whatever_it_says_it_is_read_or_refused(text: str) -> None:
    with suppress(BuildFault):
        assert reader.read(f"FROM python\n{text}\n{RUNS}", Path("/nowhere"), Path("/nowhere/either")).command
