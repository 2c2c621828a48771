"""Deals scikit-learn's 1,797 handwritten digits out to clinics, and writes them as folders: `python data.py FOLDER`.

Each clinic gets `train-1`, `train-2` and `test`, with a file `digits.csv`: a line for each digit, first what it is,
then its 8 × 8 pixels, 0 to 16. No clinic sees all digits often: each lacks most of some that the others have.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

RARE = 0.1
"""How often a clinic sees the digits that are rare there, beside the others."""


def write(folder: Path, clinics: list[str]) -> None:
    """Write a folder for each clinic, with a folder for each of its data samples.

    Args:
        folder: where.
        clinics: their names.
    """
    source = load_digits()
    rows = np.column_stack([source.target, source.data]).astype(int)
    random = np.random.default_rng(1)
    # A clinic's rare digits: 0 to 4, 5 to 9, then none, and so on.
    rare = np.array([np.isin(range(10), [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], []][n % 3]) for n in range(len(clinics))])
    shares = np.where(rare, RARE, 1.0)
    owners = np.array([random.choice(len(clinics), p=shares[:, d] / shares[:, d].sum()) for d in rows[:, 0]])
    for number, clinic in enumerate(clinics):
        own = random.permutation(rows[owners == number])
        test, first, second = np.array_split(own, [len(own) // 4, len(own) * 5 // 8])
        for name, part in {"train-1": first, "train-2": second, "test": test}.items():
            (folder / clinic / name).mkdir(parents=True, exist_ok=True)
            np.savetxt(folder / clinic / name / "digits.csv", part, fmt="%d", delimiter=",")


if __name__ == "__main__":
    write(Path(sys.argv[1]), ["hospital-1", "hospital-2", "hospital-3"])
