"""For tests in which a broker refuses connections."""

import gc
import logging
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture
def refusals(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """kafka-python leaves refused sockets to the collector, and captured log records keep them
    alive until some other test suffers for it. Here they are collected, quietly, at the end."""
    caplog.set_level(logging.CRITICAL + 1, logger="kafka")
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
