"""Wheels that tests make: of no more than a module, without a builder."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    scripts: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel; return its file.

    Args:
        folder: where to.
        name: of the package, and of its module, which knows its `version`.
        version: of the package.
        files: of it, in place of that module.
        requires: what it needs.
        tag: what it runs on.
        scripts: programs, as in `{"greet": "module:main"}`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described = f"{name}-{version}.dist-info"
    written = dict(files or {f"{name}.py": f"version = {version!r}\n"})
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    written[f"{described}/METADATA"] = metadata + "".join(f"Requires-Dist: {each}\n" for each in requires)
    written[f"{described}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    if scripts:
        lines = [f"{program} = {target}" for program, target in scripts.items()]
        written[f"{described}/entry_points.txt"] = "\n".join(["[console_scripts]", *lines, ""])
    record = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in written.items()]
    written[f"{described}/RECORD"] = "\n".join([*record, f"{described}/RECORD,,", ""])
    file = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in written.items():
            archive.writestr(path, text)
    return file


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
