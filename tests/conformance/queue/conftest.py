"""The queue under test, once per backend."""

from collections.abc import Iterator

import pytest

from notify.domain.ports import Queue
from tests.conformance.queue.backends import BACKENDS, Backend, Run


@pytest.fixture(params=BACKENDS)
def bare(request: pytest.FixtureRequest, run: Run) -> Iterator[Backend]:
    """A backend without an epoch."""
    backend = BACKENDS[request.param](request.getfixturevalue)
    run(backend.open())
    yield backend
    run(backend.close())


@pytest.fixture
def backend(bare: Backend, run: Run) -> Backend:
    """A backend whose queue is ready for use."""
    assert run(bare.queue.begin_epoch("first"))
    return bare


@pytest.fixture
def queue(backend: Backend) -> Queue:
    """A queue ready for use."""
    return backend.queue
