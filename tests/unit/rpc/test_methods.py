"""The table of methods says of each what the contract says of it."""

import inspect
import typing
from collections.abc import Iterable

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from orchestrator.rpc.handlers import Listed, Parts, Stream, Unary
from orchestrator.rpc.methods import METHODS
from orchestrator.rpc.server import contract

DESCRIPTORS = [method for service in contract() for method in service.methods]

Behind: typing.TypeAlias = (
    Unary[typing.Any, typing.Any] | Listed[typing.Any, typing.Any] | Parts[typing.Any, typing.Any] | Stream[typing.Any]
)


def behind(method: MethodDescriptor) -> Behind:
    return METHODS[method.containing_service.name][method.name]


def test_the_table_has_the_methods_of_the_contract_and_no_others():
    known = {(method.containing_service.name, method.name) for method in DESCRIPTORS}
    assert {(service, name) for service, methods in METHODS.items() for name in methods} == known


@pytest.mark.parametrize("method", DESCRIPTORS, ids=lambda method: method.name)
def test_a_method_takes_and_gives_what_the_contract_says(method: MethodDescriptor):
    entry = behind(method)
    assert (entry.takes_stream, entry.streams) == (method.client_streaming, method.server_streaming)
    assert entry.request is GetMessageClass(method.input_type)
    function = entry.source if isinstance(entry, Stream) else entry.use_case
    hints = typing.get_type_hints(function)
    returned = hints.pop("return")
    in_parts = isinstance(entry, Parts | Listed)
    taken = Iterable[entry.request] if in_parts else entry.request
    assert list(hints.values())[1] == taken
    assert len(inspect.signature(function).parameters) == 2
    if not method.server_streaming:
        # One that writes itself says as what.
        assert getattr(returned, "message", returned) is GetMessageClass(method.output_type)
