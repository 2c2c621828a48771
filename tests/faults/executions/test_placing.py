"""Executions are placed at Argo by runtimes."""

from tests.kit.installation import Installation


def test_an_execution_is_placed(installation: Installation):
    installation.runtime("first")
    execution = installation.started()
    name = installation.await_workflow(execution)
    assert installation.workflows(execution) == [name]
