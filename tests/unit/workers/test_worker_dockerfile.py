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
