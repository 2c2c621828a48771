"""What each member takes and refuses, as module scripts rely on."""

import copy
import ctypes
import math
import pickle

import numpy as np
import pytest
import sustainml_swig as swig
from hypothesis import given
from hypothesis import strategies as some
from orchestrator_modules.members import MEMBERS
from orchestrator_modules.types import TYPES

TEXTS = some.lists(some.text(some.characters(codec="utf-8"), max_size=5), max_size=4)
FITTING = {
    "u32": some.one_of(some.integers(0, 2**32 - 1), some.booleans()),
    "i32": some.one_of(some.integers(-(2**31), 2**31 - 1), some.booleans()),
    "enum": some.one_of(some.integers(0, 5), some.booleans()),
    "f64": some.one_of(some.floats(), some.integers(-(2**53), 2**53), some.booleans()),
    "bool": some.booleans(),
    "str": some.text(some.characters(codec="utf-8")),
    "list": some.one_of(TEXTS, TEXTS.map(tuple), TEXTS.map(swig.std_string_vec)),
    "bytes": some.binary(max_size=20).flatmap(
        lambda b: some.sampled_from(
            [
                b,
                bytearray(b),
                memoryview(b),
                list(b),
                swig.uint8_t_vector(b),
                np.frombuffer(b, np.uint8),
                np.array(list(b), int),
            ]
        )
    ),
    "task_id": some.builds(swig.TaskId, some.integers(0, 2**32 - 1), some.integers(0, 2**32 - 1)),
}
WRONG = {
    "u32": [1.0, "1", None, -1, 2**32, [], b"1"],
    "i32": [1.0, "1", None, 2**31, -(2**31) - 1],
    "enum": [1.0, "1", None, 2**31],
    "f64": ["1.0", None, [], 1j, 10**400],
    "bool": [0, 1, "True", None, 1.0],
    "str": [b"a", 1, ["a"], True],
    "list": [{"a"}, (x for x in "a"), 1, ["a", 1], ["a", None], b"ab", [b"a"]],
    "bytes": ["a", [256], [-1], ["a"], 7, [1.5], np.array([300]), np.array([0.5])],
    "task_id": [None, 1, (1, 2), "1"],
}
ACCESSORS = [(type_, member, kind.name) for type_, members in MEMBERS.items() for member, kind in members.items()]


def plain(value):
    if isinstance(value, swig.std_string_vec | swig.uint8_t_vector):
        return list(value)
    return value


def test_there_is_an_accessor_for_each_member():
    assert len(ACCESSORS) == 66
    assert all(callable(getattr(getattr(swig, type_), member)) for type_, member, _ in ACCESSORS)


@pytest.mark.parametrize("kind", sorted(FITTING))
@given(data=some.data())
def test_what_fits_is_kept_and_answers_none(kind, data):
    type_, member, _ = data.draw(some.sampled_from([each for each in ACCESSORS if each[2] == kind]))
    value = data.draw(FITTING[kind])
    message = getattr(swig, type_)()
    assert getattr(message, member)(value) is None
    kept = getattr(message, member)()
    if kind == "f64":
        assert kept == float(value) or math.isnan(kept)
    else:
        assert plain(kept) == (list(value) if kind in ("list", "bytes") else value)
    for other in (
        type(message)(message),
        copy.copy(message),
        copy.deepcopy(message),
        pickle.loads(pickle.dumps(message)),
    ):
        assert repr(other) == repr(message)
        assert other is not message


@pytest.mark.parametrize(("type_", "member", "kind"), ACCESSORS, ids=lambda value: value)
def test_what_does_not_fit_is_refused_and_changes_nothing(type_, member, kind):
    message = getattr(swig, type_)()
    accessor = getattr(message, member)
    before = repr(message)
    for wrong in WRONG[kind]:
        with pytest.raises(TypeError):
            accessor(wrong)
    if kind in ("str", "list", "bytes"):
        with pytest.raises(ValueError, match=member):
            accessor(None)
    for call in (lambda: accessor(0, 0), lambda: accessor(value=0), lambda: accessor(**{member: 0})):
        with pytest.raises(TypeError):
            call()
    assert repr(message) == before


def test_numbers_are_plain():
    metadata = swig.UserInput()
    metadata.minimum_samples(True)
    assert type(metadata.minimum_samples()) is int
    metadata.minimum_samples(np.int64(7))
    assert type(metadata.minimum_samples()) is int
    metadata.desired_carbon_footprint(np.float32(0.5))
    assert type(metadata.desired_carbon_footprint()) is float


def test_half_a_surrogate_pair_is_no_text():
    with pytest.raises(ValueError, match=r"MLModel\.model"):
        swig.MLModel().model("\ud800")


def test_a_lone_text_is_a_list_of_one():
    user_input = swig.UserInput()
    user_input.inputs("text")
    assert list(user_input.inputs()) == ["text"]


def test_what_is_read_is_live():
    requirements = swig.AppRequirements()
    read = requirements.app_requirements()
    read.append("x")
    requirements.task_id().problem_id(3)
    assert requirements.app_requirements() == ["x"]
    assert requirements.task_id() == swig.TaskId(3, 0)
    requirements.app_requirements(["y", "z"])
    assert read == ["y", "z"]
    requirements.app_requirements(read)
    assert read == ["y", "z"]
    read.clear()
    assert requirements.app_requirements().empty()


def test_a_task_id_that_is_written_is_copied():
    message, task = swig.MLModel(), swig.TaskId(1, 2)
    message.task_id(task)
    task.iteration_id(9)
    assert message.task_id() == swig.TaskId(1, 2)


def test_a_copy_shares_nothing():
    first = swig.UserInput()
    first.inputs(["a"])
    second = swig.UserInput(first)
    second.inputs().append("b")
    second.task_id().problem_id(1)
    assert list(first.inputs()) == ["a"]
    assert first.task_id() == swig.TaskId()
    assert first != second
    with pytest.raises(TypeError):
        swig.UserInput(swig.MLModel())


def test_a_list_of_texts():
    vector = swig.std_string_vec()
    assert not vector
    assert vector.empty()
    vector.append("a")
    vector.push_back("b")
    vector.extend(["c"])
    assert (vector.size(), len(vector), "b" in vector, vector[-1], vector.index("c")) == (3, 3, True, "c", 2)
    assert list(vector[1:]) == ["b", "c"]
    assert ", ".join(vector) == "a, b, c"
    assert vector == ["a", "b", "c"]
    assert vector.pop() == "c"
    vector[0] = "z"
    assert list(vector) == ["z", "b"]
    for index in (2, -3):
        with pytest.raises(IndexError):
            vector[index]
    for act in (lambda: vector.append(1), lambda: vector.extend([1]), lambda: vector.__setitem__(0, None)):
        with pytest.raises(TypeError):
            act()
    assert list(vector) == ["z", "b"]
    vector.clear()
    with pytest.raises(IndexError):
        vector.pop()


def at(address, size):
    return bytes((ctypes.c_ubyte * size).from_address(address))


def test_bytes_lie_where_they_say():
    message = swig.UserInput()
    assert int(message.extra_data().get_buffer()) > 0
    message.extra_data(b'{"a": 1}')
    vector = message.extra_data()
    address = int(vector.get_buffer())
    assert at(address, vector.size()) == b'{"a": 1}'
    vector[0] = ord("[")
    assert at(address, 8) == b'["a": 1}'
    assert int(vector.get_buffer()) == address


def test_an_address_stays_readable_as_long_as_the_message_lives():
    message = swig.UserInput()
    message.extra_data(b"first")
    address = int(message.extra_data().get_buffer())
    message.extra_data(b"another one" * 1000)
    message.extra_data().append(7)
    assert at(address, 5) == b"first"
    assert bytes(message.extra_data())[:7] == b"another"
    now = int(message.extra_data().get_buffer())
    assert at(now, message.extra_data().size()) == bytes(message.extra_data())


def test_a_list_of_bytes():
    vector = swig.uint8_t_vector(b"ab")
    assert "".join(chr(byte) for byte in vector) == "ab"
    vector.push_back(255)
    assert (bytes(vector), vector.size(), 255 in vector) == (b"ab\xff", 3, True)
    assert vector == [97, 98, 255]
    assert vector == b"ab\xff"
    with pytest.raises(TypeError):
        vector.append(256)


def test_task_ids():
    assert swig.TaskId() == swig.TaskId(0, 0)
    assert str(swig.TaskId(3, 4)) == "{3, 4}"
    assert swig.TaskId(1, 9) < swig.TaskId(2, 1) < swig.TaskId(2, 2)
    assert swig.TaskId(2, 2) > swig.TaskId(2, 1) != swig.TaskId(2, 2)
    assert len({swig.TaskId(1, 1), swig.TaskId(1, 1), swig.TaskId(swig.TaskId(1, 1))}) == 1
    for wrong in ((1,), (-1, 0), (2**32, 0), ("1", 2), (1.0, 2), (1, 2, 3)):
        with pytest.raises(TypeError):
            swig.TaskId(*wrong)


@pytest.mark.parametrize("type_", sorted(TYPES))
def test_every_type_prints(type_):
    assert type_ in str(getattr(swig, type_)())


def test_a_status_is_updated():
    status = swig.NodeStatus()
    status.update(swig.Status.NODE_ERROR)
    assert status.node_status() == 1
    assert not status.cancelled()


def test_enums_are_plain_numbers_in_both_spellings():
    states = ("INACTIVE", "ERROR", "IDLE", "INITIALIZING", "RUNNING", "TERMINATING")
    assert [getattr(swig.Status, f"NODE_{name}") for name in states] == [0, 1, 2, 3, 4, 5]
    assert [getattr(swig.TaskStatus, f"TASK_{name}") for name in ("WAITING", "ERROR", "RUNNING", "SUCCEEDED")] == [
        0,
        1,
        2,
        3,
    ]
    assert swig.NodeID.ID_ML_MODEL == swig.NodeID_ID_ML_MODEL == 5
    assert (swig.ErrorCode.NO_ERROR, swig.ErrorCode.INTERNAL_ERROR) == (0, 1)
    assert (swig.CmdNode.TERMINATE_NODE, swig.CmdTask.PREEMPT_TASK) == (4, 3)
    assert type(swig.NodeID.ID_ML_MODEL) is int
