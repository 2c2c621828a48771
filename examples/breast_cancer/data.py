"""The patients, who holds them, and how they lie on a hospital's disk.

The data is scikit-learn's breast-cancer set: 569 real patients of Wisconsin, 30 measurements of each one's
tumour cells. A data sample is a folder with one CSV file: a header, then a line per patient, the last column
1 for a malignant tumour and 0 for a benign one.
"""

import csv
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.utils import Bunch

TEST_SHARE = 0.3
TRAIN_SAMPLES = 2


class Patients(NamedTuple):
    """Measurements, a row per patient, and labels: 1 malignant, 0 benign."""

    features: np.ndarray
    labels: np.ndarray


class Hospital(NamedTuple):
    """What one hospital learns from, and what it keeps to test with."""

    train: Patients
    test: Patients


class SampleFolders(NamedTuple):
    """Where the data samples of one hospital lie."""

    train: list[Path]
    test: list[Path]


def split(hospitals: Sequence[str], seed: int = 1) -> dict[str, Hospital]:
    """Deal all patients out to hospitals: each patient to one hospital, the first hospital the largest.

    Malignant and benign patients are dealt in the same proportions, so that every part has some of both.

    Args:
        hospitals: their names, the largest first; three of them get 4/9, 3/9 and 2/9 of the patients.
        seed: the same seed gives the same split.

    Raises:
        ValueError: no name, a name twice, or too many for each to train and test on patients of both kinds.
    """
    if not hospitals or len(set(hospitals)) < len(hospitals):
        raise ValueError(f"a split needs at least one hospital, each named once, not {list(hospitals)}")
    everyone = _patients()
    random = np.random.default_rng(seed)
    shares = np.arange(len(hospitals) + 1, 1, -1)
    train: dict[str, list[int]] = {name: [] for name in hospitals}
    test: dict[str, list[int]] = {name: [] for name in hospitals}
    for label in (0, 1):
        alike = random.permutation(np.flatnonzero(everyone.labels == label)).tolist()
        cuts = [0, *np.rint(np.cumsum(shares) / shares.sum() * len(alike)).astype(int).tolist()]
        for name, (start, end) in zip(hospitals, pairwise(cuts), strict=True):
            tested = max(1, round((end - start) * TEST_SHARE))
            if end - start <= tested:
                raise ValueError(
                    f"{len(everyone.labels)} patients are too few for {len(hospitals)} hospitals to train and"
                    " test on malignant and benign ones each: name fewer hospitals"
                )
            test[name] += alike[start : start + tested]
            train[name] += alike[start + tested : end]

    def chosen(rows: list[int]) -> Patients:
        mixed = random.permutation(rows)
        return Patients(everyone.features[mixed], everyone.labels[mixed])

    return {name: Hospital(chosen(train[name]), chosen(test[name])) for name in hospitals}


def write_samples(folder: Path, features: np.ndarray, labels: np.ndarray) -> None:
    """Write patients as one data sample.

    Args:
        folder: made here; it must not exist.
        features: a row per patient.
        labels: 1 malignant, 0 benign.

    Raises:
        FileExistsError: the folder exists.
    """
    folder.mkdir(parents=True)
    with (folder / "patients.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([*_source().feature_names, "malignant"])
        for row, label in zip(features.tolist(), labels.tolist(), strict=True):
            lines.writerow([*row, int(label)])


def write_hospital(folder: Path, hospital: Hospital) -> SampleFolders:
    """Write a hospital's patients as data samples: several to train on, one to test with.

    Args:
        folder: where the data samples' folders are made.
        hospital: its patients.

    Raises:
        FileExistsError: one of the data samples is there already.
    """
    folders = SampleFolders([folder / f"train-{n + 1}" for n in range(TRAIN_SAMPLES)], [folder / "test"])
    parts = zip(
        np.array_split(hospital.train.features, TRAIN_SAMPLES),
        np.array_split(hospital.train.labels, TRAIN_SAMPLES),
        strict=True,
    )
    for sample, (features, labels) in zip(folders.train, parts, strict=True):
        write_samples(sample, features, labels)
    write_samples(folders.test[0], *hospital.test)
    return folders


@cache
def _source() -> Bunch:
    return load_breast_cancer()


def _patients() -> Patients:
    source = _source()
    # scikit-learn calls benign 1; a doctor's question is whether the tumour is malignant.
    return Patients(source.data, 1.0 - source.target)
