"""Sharing targets between collectors: each has one, all agree, and few move."""

from collections import Counter

import pytest
from pydantic import ValidationError

from collectors.shards import shard_name, shard_of, share_of
from fleetmend.settings.collectors import CollectorsSettings

SETTINGS = CollectorsSettings.model_validate(
    {
        "targets": [
            *(
                {"url": f"http://n{n}:9400/metrics", "kind": "gpu", "node": f"n{n}"}
                for n in range(200)
            ),
            *(
                {"url": f"http://e{n}:8000/metrics", "kind": "engine", "engine": f"e{n}"}
                for n in range(200)
            ),
        ],
        "probe": {"replicas": [{"url": f"http://e{n}:8000", "engine": f"e{n}"} for n in range(50)]},
        "kernel_logs": [{"node": "n0"}],
        "kubernetes": {"enabled": True},
        "otlp": {"http_port": 4318, "senders": [{"name": "a", "speaks_for": "cluster"}]},
        "shards": 3,
    }
)


def shares() -> list[CollectorsSettings]:
    """What each shard does."""
    return [share_of(SETTINGS.model_copy(update={"shard": shard})) for shard in range(3)]


def test_every_target_belongs_to_one_shard_and_every_probe_goes_with_its_page() -> None:
    each = shares()
    assert sorted(t.url for s in each for t in s.targets) == sorted(t.url for t in SETTINGS.targets)
    assert sum(len(s.probe.replicas) for s in each) == 50
    assert min(len(s.targets) for s in each) > 90
    for share in each:
        engines = {target.engine for target in share.targets}
        assert {replica.engine for replica in share.probe.replicas} <= engines


def test_what_cannot_be_shared_is_done_by_the_first_alone() -> None:
    first, *others = shares()
    assert first.kernel_logs
    assert first.kubernetes.enabled
    assert first.otlp.enabled
    for other in others:
        assert not other.kernel_logs
        assert not other.kubernetes.enabled
        assert not other.otlp.enabled


def test_one_shard_more_takes_from_the_others_and_moves_nothing_between_them() -> None:
    keys = [f"node-{n}" for n in range(3000)]
    moved = Counter(
        (shard_of(key, 4), shard_of(key, 5)) for key in keys if shard_of(key, 4) != shard_of(key, 5)
    )
    assert {to for _, to in moved} == {4}
    assert 450 < sum(moved.values()) < 750


def test_shards_bear_different_names_and_a_single_collector_the_plain_one() -> None:
    assert shard_name("prometheus", CollectorsSettings()) == "prometheus"
    assert {shard_name("prometheus", share) for share in shares()} == {
        "prometheus-0",
        "prometheus-1",
        "prometheus-2",
    }


def test_a_shard_beyond_the_last_is_refused() -> None:
    with pytest.raises(ValidationError, match="shard must be less"):
        CollectorsSettings(shards=2, shard=2)
