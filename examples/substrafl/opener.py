"""Reads an organization's data samples for a function. It is registered alone, so it uses no other file."""

from pathlib import Path

import numpy as np
import substratools as tools


class DigitsOpener(tools.Opener):
    """Turns data sample folders into one pair of arrays: images (a row of 64 pixels each) and the digits they show."""

    def get_data(self, folders: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the images of all folders, in the order given."""
        samples = [np.loadtxt(Path(folder) / "digits.txt", ndmin=2) for folder in folders]
        rows = np.concatenate(samples)
        return rows[:, :-1] / 16, rows[:, -1].astype(int)

    def fake_data(self, n_samples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return invented images, to try a function without any.

        Args:
            n_samples: how many; 100 where none is given.
        """
        random = np.random.default_rng(0)
        number = n_samples or 100
        return random.random((number, 64)), np.arange(number) % 10
