"""The storage under test, once per backend."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from notify.domain.ports import Storage
from tests.conformance.storage.backends import BACKENDS, Backend, Run


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> Iterator[Backend]:
    """A backend with an empty database."""
    backend = BACKENDS[request.param](tmp_path)
    run(backend.open())
    yield backend
    run(backend.close())


@pytest.fixture
def storage(backend: Backend) -> Storage:
    """An empty storage."""
    return backend.storage


@pytest.fixture
def durable(backend: Backend) -> Backend:
    """A backend whose data outlives its process."""
    if not backend.durable:
        pytest.skip("keeps nothing over a restart")
    return backend
