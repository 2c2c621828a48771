"""Functions that tests run: their archives, and code that reads by hand what the runtime promises."""

import io
import tarfile
from collections.abc import Callable, Mapping

DOCKERFILE = 'FROM python:3-slim\nENTRYPOINT ["python3", "function.py"]\n'
# Reads what the runtime promises by hand, so that a fault is the test's own.
READS = """
import json, os, pathlib, sys, time
lines = pathlib.Path(sys.argv[1][1:]).read_text().splitlines()
inputs = {item["id"]: pathlib.Path(item["value"]) for item in json.loads(lines[3])}
outputs = {item["id"]: pathlib.Path(item["value"]) for item in json.loads(lines[5])}
"""
WORKS = 'outputs["model"].write_text("a model")'


def packed(files: Mapping[str, str | bytes], damage: Callable[[tarfile.TarFile], None] | None = None) -> bytes:
    """Return a tar.gz of files, and of whatever `damage` adds."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            data = content.encode() if isinstance(content, str) else content
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        if damage:
            damage(archive)
    return buffer.getvalue()
