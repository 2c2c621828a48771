"""Reads a hospital's data samples for a function. It is registered alone, so it uses no other file."""

from pathlib import Path

import numpy as np
import substratools as tools


class BreastCancerOpener(tools.Opener):
    """Turns data sample folders into one pair of arrays: features (a row per patient) and labels."""

    def get_data(self, folders: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the patients of all folders, in the order given; labels are 1 malignant, 0 benign."""
        samples = [np.loadtxt(Path(folder) / "patients.csv", delimiter=",", skiprows=1, ndmin=2) for folder in folders]
        rows = np.concatenate(samples)
        return rows[:, :-1], rows[:, -1]

    def fake_data(self, n_samples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return invented patients, to try a function without any (`--fake-data`).

        Args:
            n_samples: how many; 100 where none is given.
        """
        random = np.random.default_rng(0)
        labels = np.arange(n_samples or 100) % 2.0
        return random.normal(size=(len(labels), 30)) + labels[:, np.newaxis], labels
