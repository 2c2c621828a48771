"""The ENTRYPOINT of Dockerfiles, well and badly written."""

import pytest

from workers.errors import BuildFault
from workers.functions.dockerfile import read_entrypoint

COMMAND = ["python3", "function.py", "--function-name", "train"]


@pytest.mark.parametrize(
    "text",
    [
        'FROM python\nENTRYPOINT ["python3", "function.py", "--function-name", "train"]\n',
        'from python\r\nentrypoint\t["python3", "function.py", "--function-name", "train"]\r\n',
        'FROM p\nENTRYPOINT ["python3", \\\n  # why\n\n  "function.py", "--function-name", \\\n "train"]',
        '# escape=`\nFROM p\nENTRYPOINT ["python3", `\n "function.py", "--function-name", "train"]',
        'FROM p\nENTRYPOINT ["old"]\nENTRYPOINT ["python3", "function.py", "--function-name", "train"]\nCMD ["x"]',
        'FROM p\nRUN <<END\nENTRYPOINT ["no"]\nEND\nENTRYPOINT ["python3", "function.py", "--function-name", "train"]'
        '\nRUN cat <<-"EOF"\nENTRYPOINT ["no"]\n\tEOF\n',
    ],
)
def test_the_last_exec_form_is_read(text: str) -> None:
    assert read_entrypoint(text) == COMMAND


@pytest.mark.parametrize(
    "line",
    [
        'RUN bash -c "base64 -d <<< aGVsbG8="',
        "RUN truncate -s $((1<<20)) /swap",
        'RUN python3 -c "print(1 << n)"',
        'RUN <<END-OF\nENTRYPOINT ["no"]\nEND-OF',
        'RUN cat <<-A <<B > x\n\tENTRYPOINT ["no"]\n\tA\nENTRYPOINT ["no"]\nB',
        'COPY 3<<"A B" x\nENTRYPOINT ["no"]\nA B',
        "# " + "x" * 60_000,
        "ENV A=" + "<" * 1000,
    ],
)
def test_a_heredoc_begins_where_a_builder_says(line: str) -> None:
    assert read_entrypoint(f'FROM p\n{line}\nENTRYPOINT ["python3"]\n') == ["python3"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM p\nRUN <<END\nnever ended", "unterminated heredoc"),
        ("FROM p\nRUM x", "line 2: unknown instruction: RUM"),
        ("# escape=x\nFROM p", "invalid escape token"),
        ("FROM p\nENV A", "ENV must have two arguments"),
        ("FROM p\n" + "x" * 70_000, "line 2 .* more than 65535 characters"),
        ("\n" * 600_000, "more than 524288 characters"),
        ("FROM p\nENTRYPOINT " + "[" * 60_000, "ENTRYPOINT|nested too deeply"),
    ],
)
def test_what_is_no_dockerfile_is_explained(text: str, words: str) -> None:
    with pytest.raises(BuildFault, match=words):
        read_entrypoint(text)


@pytest.mark.parametrize(
    "text", ["", "FROM python\nCMD ['x']", '# ENTRYPOINT ["x"]', 'FROM a\nENTRYPOINT ["x"]\nFROM b']
)
def test_a_missing_entrypoint_is_explained(text: str) -> None:
    with pytest.raises(BuildFault, match=r"has no ENTRYPOINT .*add one, as in"):
        read_entrypoint(text)


@pytest.mark.parametrize(
    "form", ["python3 function.py", "[]", '["python3", 3]', "['python3']", '"python3"', '[""]', '["a\\u0000"]']
)
def test_every_other_form_is_explained(form: str) -> None:
    with pytest.raises(BuildFault, match=r"not in exec form.*JSON list of strings"):
        read_entrypoint(f"FROM python\nENTRYPOINT {form}\n")
