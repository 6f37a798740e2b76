"""The real parts of a flow, together; and the record of kills that a campaign keeps."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import described
from deploy.parts.kube import KubeCluster
from tests.flow.story import Parts


@pytest.fixture
def parts(kube: KubeCluster, kafka_bootstrap: str, postgres_url: str, tmp_path: Path) -> Parts:
    """Real parts, with a database and a folder of the test's own."""
    return Parts(kube, kafka_bootstrap, postgres_url, tmp_path)


@pytest.fixture(scope="session")
def survived() -> Iterator[list[dict[str, Any]]]:
    """Kills after which all was as it must be; written to FLEETMEND_KILL_RECORD if that is set."""
    kills: list[dict[str, Any]] = []
    yield kills
    path = os.environ.get("FLEETMEND_KILL_RECORD")
    if path:
        wanted = int(os.environ["FLEETMEND_KILL_SEEDS"])
        record = described("kills") | {"wanted": wanted, "survived": len(kills), "kills": kills}
        Path(path).write_text(json.dumps(record, indent=1) + "\n")
