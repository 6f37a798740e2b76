"""Real parts for tests of adapters and of the whole flow: one of each per run, started on first
use, isolated by name.

A part that cannot be had fails the tests that need it; nothing here skips.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.parts.kafka import KafkaBroker
from deploy.parts.kube import KubeCluster
from deploy.parts.postgres import PostgresServer


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A Kafka broker that nobody kills; use topic prefixes of your own."""
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """Its address (or that of a broker named by KAFKA_BOOTSTRAP)."""
    given = os.environ.get("KAFKA_BOOTSTRAP")
    return given or str(request.getfixturevalue("kafka_broker").bootstrap)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server that nobody kills."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    for parent in (folder, *folder.parents[:2]):  # its own user must be able to walk in
        parent.chmod(0o755)
    server = PostgresServer(folder)
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """A fresh, empty database of the test's own."""
    return postgres_server.new_database()


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeCluster]:
    """A Kubernetes cluster without nodes: each test adds nodes and a namespace of its own."""
    cluster = KubeCluster(tmp_path_factory.mktemp("kube"))
    yield cluster
    cluster.stop()
