"""The storage under test, once per backend."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from notify.domain.ports import Storage
from tests.conformance.storage.backends import BACKENDS, Backend, Run


def opened(name: str, run: Run, directory: Path) -> Iterator[Backend]:
    backend = BACKENDS[name](directory)
    run(backend.open())
    yield backend
    run(backend.close())


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> Iterator[Backend]:
    """A backend with an empty database."""
    yield from opened(request.param, run, tmp_path)


@pytest.fixture(params=[name for name, kind in BACKENDS.items() if kind.durable])
def durable(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> Iterator[Backend]:
    """A backend whose data outlives its process, with an empty database."""
    yield from opened(request.param, run, tmp_path)


@pytest.fixture
def storage(backend: Backend) -> Storage:
    """An empty storage."""
    return backend.storage
