"""The real parts of a flow, together."""

from pathlib import Path

import pytest

from deploy.parts.kube import KubeCluster
from tests.flow.story import Parts


@pytest.fixture
def parts(kube: KubeCluster, kafka_bootstrap: str, postgres_url: str, tmp_path: Path) -> Parts:
    """Real parts, with a database and a folder of the test's own."""
    return Parts(kube, kafka_bootstrap, postgres_url, tmp_path)
