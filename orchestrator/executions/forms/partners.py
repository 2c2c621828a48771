"""Data partners: what an execution is told of the patients whose data it uses."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator import protos as pb
from orchestrator.executions.forms.form import InvalidError, mapping

_FIELDS = ("system_path", "fields_definition", "sheets_definition", "patients")


def reader(valid: Sequence[str]) -> Any:
    """Return a reader of `data_partners_patients`: data partner -> what was sent for it, as it was.

    Args:
        valid: the data partners that there are.
    """

    def read(value: Any) -> dict[str, Any]:
        partners = mapping(value)
        problems = {name: [problem] for name, given in partners.items() if (problem := _problem(name, given, valid))}
        if problems:
            raise InvalidError(problems)
        return partners

    return read


def _problem(name: str, given: Any, valid: Sequence[str]) -> str:
    """Return the first thing that is wrong, empty without one."""
    if name not in valid:
        return f'"{name}" is not a valid choice. Possible values: {list(valid)}'
    if given is None:
        return f'"{given}" is null.'
    if not isinstance(given, dict):
        return f'"{given}" is not a dict.'
    missing = next((field for field in _FIELDS if field not in given), None)
    if missing:
        return f"it does not contain the field {missing}."
    patients = given["patients"]
    if not isinstance(patients, list):
        return f'"{patients}" is not a list.'
    if not patients:
        return "the list of patients is empty."
    return _problem_of(patients)


def _problem_of(patients: list[Any]) -> str:
    if not all(isinstance(patient, dict) for patient in patients):
        return "there are patients that are no objects."
    for field in ("id", "clinical_data"):
        if any(field not in patient for patient in patients):
            return f"there are patients without the field {field}."
    ids = [patient["id"] for patient in patients]
    if any(isinstance(each, bool) or not isinstance(each, str | int | float) for each in ids):
        return "there are patients whose id is neither a text nor a number."
    return "the list of patients contains duplicates." if len(set(ids)) < len(ids) else ""


def messages(partners: Mapping[str, Any]) -> list[pb.PartnerPatients]:
    """Return what is kept with an execution of what was sent."""
    return [
        pb.PartnerPatients(
            name=name,
            patients=[json.dumps(patient["id"]) for patient in given["patients"]],
            system_path=_plain(given["system_path"]),
        )
        for name, given in partners.items()
    ]


def patients(partners: Sequence[pb.PartnerPatients]) -> dict[str, list[Any]]:
    """Return the ids of the patients by data partner, as they were sent."""
    return {partner.name: [json.loads(patient) for patient in partner.patients] for partner in partners}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
