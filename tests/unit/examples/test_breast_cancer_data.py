"""How the example deals out patients and writes them down."""

from collections import Counter

import numpy as np
import pytest

from examples.breast_cancer import data
from examples.breast_cancer.opener import BreastCancerOpener

HOSPITALS = ["north", "middle", "south"]


def rows(patients: data.Patients) -> list[tuple[float, ...]]:
    return [(*row, label) for row, label in zip(patients.features.tolist(), patients.labels, strict=True)]


@pytest.mark.parametrize("count", [1, 3, 7])
def test_every_patient_is_at_one_hospital(count: int) -> None:
    hospitals = data.split([f"hospital-{n}" for n in range(count)])
    dealt = Counter(row for hospital in hospitals.values() for part in hospital for row in rows(part))
    source = data.load_breast_cancer()
    assert dealt == Counter(rows(data.Patients(source.data, 1.0 - source.target)))
    assert dealt.total() == len(dealt) == 569


def test_hospitals_differ_in_size_and_resemble_each_other_in_patients() -> None:
    hospitals = data.split(HOSPITALS).values()
    sizes = [len(hospital.train.labels) + len(hospital.test.labels) for hospital in hospitals]
    assert sizes == sorted(set(sizes), reverse=True)
    for hospital, size in zip(hospitals, sizes, strict=True):
        assert 0.25 <= len(hospital.test.labels) / size <= 0.31
        for part in hospital:
            assert part.labels.mean() == pytest.approx(212 / 569, abs=0.02)


def test_the_seed_decides_the_split() -> None:
    first, again, other = (data.split(HOSPITALS, seed)["north"] for seed in (5, 5, 6))
    assert rows(first.train) == rows(again.train)
    assert rows(first.test) == rows(again.test)
    assert set(rows(first.train)) != set(rows(other.train))


@pytest.mark.parametrize("hospitals", [[], ["north", "north"]])
def test_hospitals_without_a_name_of_their_own_are_refused(hospitals: list[str]) -> None:
    with pytest.raises(ValueError, match="each named once"):
        data.split(hospitals)


def test_more_hospitals_than_patients_suffice_for_are_refused() -> None:
    with pytest.raises(ValueError, match="569 patients are too few for 100 hospitals"):
        data.split([f"hospital-{n}" for n in range(100)])


def test_what_is_written_is_what_the_opener_reads(tmp_path) -> None:
    hospital = data.split(HOSPITALS)["south"]
    folders = data.write_hospital(tmp_path, hospital)
    assert len(folders.train) == data.TRAIN_SAMPLES
    opener = BreastCancerOpener()
    for paths, written in zip(folders, hospital, strict=True):
        features, labels = opener.get_data([str(path) for path in paths])
        np.testing.assert_array_equal(features, written.features)
        np.testing.assert_array_equal(labels, written.labels)


def test_a_data_sample_is_never_overwritten(tmp_path) -> None:
    patients = data.split(HOSPITALS)["south"].test
    data.write_samples(tmp_path / "sample", *patients)
    with pytest.raises(FileExistsError):
        data.write_samples(tmp_path / "sample", *patients)


def test_fake_patients_look_like_real_ones() -> None:
    features, labels = BreastCancerOpener().fake_data(11)
    real = data.split(HOSPITALS)["south"].test
    assert features.shape == (11, real.features.shape[1])
    assert set(labels) == set(real.labels)
