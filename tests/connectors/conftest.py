"""A connector to a real Synapse, which was checked as it is when a workspace is added."""

import pytest

from connectors.targets.matrix import Matrix
from tests.connectors.matrix_arrangement import connect
from tests.servers.synapse import Synapse


@pytest.fixture(scope="module")
def chat(synapse: Synapse) -> Matrix:
    matrix = connect(synapse)
    matrix.check()
    return matrix
