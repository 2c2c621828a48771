"""The Python blocks of a page of the docs, and how they are run."""

import re
import traceback
from pathlib import Path
from typing import Any

import pytest

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks_of(page: Path) -> list[tuple[int, str]]:
    """Return the Python blocks of a page, each with the number of its first line."""
    text = page.read_text()
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in BLOCK.finditer(text)]


def run(page: Path, namespace: dict[str, Any]) -> None:
    """Run a page's blocks one after the other.

    Raises:
        AssertionError: one of them failed, with the page and the line.
    """
    for line, block in blocks_of(page):
        try:
            # The empty lines before make the block's lines those of the page.
            exec(compile("\n" * (line - 1) + block, str(page), "exec"), namespace)
        except SyntaxError as error:
            raise AssertionError(f"{page}:{error.lineno}: {error.msg}") from error
        # pytest's own failures are no Exceptions.
        except (Exception, pytest.fail.Exception) as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(page)]
            raise AssertionError(f"{page}:{frames[-1].lineno}: {error!r}") from error
