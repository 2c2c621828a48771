"""Reads a clinic's data samples for a function. It is registered alone, so it uses no other file."""

from pathlib import Path

import numpy as np
import substratools as tools


class DigitsOpener(tools.Opener):
    """Turns data sample folders into one pair of arrays: images (a row of 64 pixels each, 0 to 1) and digits."""

    def get_data(self, folders: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the digits of all folders, in the order given."""
        rows = np.concatenate([np.loadtxt(Path(folder) / "digits.csv", delimiter=",", ndmin=2) for folder in folders])
        return rows[:, 1:] / 16, rows[:, 0].astype(int)

    def fake_data(self, n_samples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return invented digits, to try a function without any (`--fake-data`).

        Args:
            n_samples: how many; 100 where none is given.
        """
        random = np.random.default_rng(0)
        labels = np.arange(n_samples or 100) % 10
        return random.uniform(size=(len(labels), 64)) / 4 + np.eye(64)[6 * labels], labels
