"""The model: which digit an image of eight by eight pixels shows, by softmax regression."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DIGITS = 10
PIXELS = 64
_BRIGHTEST = 16.0
_FILE = "weights.npy"


@dataclass(frozen=True)
class Images:
    """Images of patients.

    Args:
        pixels: an image a row, each pixel from 0 to 16.
        digits: what each shows.
    """

    pixels: np.ndarray
    digits: np.ndarray

    @classmethod
    def of(cls, file: str, patients: Sequence[str]) -> Images:
        """Read the images of some patients from a data partner's file.

        Raises:
            ValueError: a patient has none.
        """
        with np.load(file, allow_pickle=False) as kept:
            whose, pixels, digits = kept["patients"], kept["pixels"], kept["digits"]
        missing = sorted(set(patients) - set(whose.tolist()))
        if missing:
            raise ValueError(f"there are no images of patient {missing[0]} here")
        chosen = np.isin(whose, list(patients))
        return cls(pixels[chosen], digits[chosen])


@dataclass(frozen=True)
class Model:
    """Softmax regression.

    Args:
        weights: a column for each digit; the last row is its bias.
    """

    weights: np.ndarray

    @classmethod
    def fresh(cls) -> Model:
        """Return a model that knows nothing."""
        return cls(np.zeros((PIXELS + 1, DIGITS)))

    def trained(self, images: Images, epochs: int, rate: float) -> Model:
        """Return what it becomes when it learns from images.

        Args:
            images: to learn from.
            epochs: how often it sees all of them.
            rate: how far each step goes.
        """
        given, wanted = _inputs(images.pixels), np.eye(DIGITS)[images.digits]
        weights = self.weights
        for _ in range(epochs):
            weights = weights - rate * given.T @ (_softmax(given @ weights) - wanted) / len(given)
        return Model(weights)

    def read(self, pixels: np.ndarray) -> np.ndarray:
        """Return which digit each image shows."""
        return np.argmax(_inputs(pixels) @ self.weights, axis=1)

    def measured(self, images: Images) -> dict[str, float]:
        """Return how well it reads images: metrics by name."""
        found = self.read(images.pixels)
        certain = _softmax(_inputs(images.pixels) @ self.weights)[np.arange(len(found)), images.digits]
        return {
            "accuracy": float(np.mean(found == images.digits)),
            "cross_entropy": float(-np.mean(np.log(np.maximum(certain, 1e-12)))),
        }

    def packed(self) -> bytes:
        """Return it as the zip of a folder, as models travel."""
        array, archive = io.BytesIO(), io.BytesIO()
        np.save(array, self.weights, allow_pickle=False)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as folder:
            folder.writestr(_FILE, array.getvalue())
        return archive.getvalue()

    @classmethod
    def unpacked(cls, content: bytes) -> Model:
        """Read what `packed` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as folder:
                weights = np.load(io.BytesIO(folder.read(_FILE)), allow_pickle=False)
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise ValueError(f"this is no model: {error}") from error
        if weights.shape != (PIXELS + 1, DIGITS):
            raise ValueError(f"this is no model of {PIXELS} pixels and {DIGITS} digits")
        return cls(weights)


def merged(models: Sequence[Model]) -> Model:
    """Return the mean of models."""
    return Model(np.mean([model.weights for model in models], axis=0))


def _inputs(pixels: np.ndarray) -> np.ndarray:
    return np.hstack([pixels / _BRIGHTEST, np.ones((len(pixels), 1))])


def _softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
