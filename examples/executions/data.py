"""The data of the example: scikit-learn's digits, dealt out to data partners as images of their patients."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_IMAGES = 12
"""Of one patient."""
_ASIDE = 24
"""Patients whose images no data partner has: for the inference."""
_KEPT = 0.2


@dataclass(frozen=True)
class Partner:
    """What one data partner has.

    Args:
        name: its name.
        file: with the images.
        learned: patients to train on.
        kept: patients to evaluate on.
    """

    name: str
    file: Path
    learned: Sequence[str]
    kept: Sequence[str]

    def asked(self, patients: Sequence[str]) -> dict[str, object]:
        """Return what an execution is told of it: the patients, with clinical data."""
        return {
            "system_path": str(self.file.parent),
            "fields_definition": "",
            "sheets_definition": "",
            "patients": [{"id": patient, "clinical_data": {"images": _IMAGES}} for patient in patients],
        }


def deal(folder: Path, names: Sequence[str]) -> tuple[list[Partner], bytes, list[int]]:
    """Write each data partner's images to a file of its own.

    Args:
        folder: made if missing; each gets a folder in it.
        names: of the data partners.

    Returns:
        The data partners; a zip of images that none of them has; the digits that these show.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(7).permutation(len(digits.target))
    pixels, targets = digits.data[order], digits.target[order]
    partners = []
    share = (len(targets) - _ASIDE) // len(names)
    for number, name in enumerate(names):
        chosen = slice(number * share, (number + 1) * share)
        patients = np.array([f"{name}/{index // _IMAGES:03}" for index in range(share)])
        file = folder / name / "digits.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, patients=patients, pixels=pixels[chosen], digits=targets[chosen])
        known = sorted(set(patients.tolist()))
        aside = int(len(known) * _KEPT)
        partners.append(Partner(name, file, known[aside:], known[:aside]))
    return partners, _zipped(pixels[-_ASIDE:]), targets[-_ASIDE:].tolist()


def _zipped(images: np.ndarray) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number, image in enumerate(images):
            rows = "\n".join(" ".join(f"{pixel:g}" for pixel in row) for row in image.reshape(8, 8))
            archive.writestr(f"image-{number:02}.txt", rows)
    return content.getvalue()
