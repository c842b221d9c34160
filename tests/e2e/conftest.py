"""What tests with a real engine share: the engine at DOCKER_HOST, or a skip that says why."""

import pytest

from tests.engines import test_engine


@pytest.fixture
def engine():
    made = test_engine()
    yield made
    made.close()
