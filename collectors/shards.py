"""Which collector of several does what. The composition root asks before it builds collectors.

Rendezvous hashing: every shard computes the same answer from the settings alone, and another number
of shards moves only the targets that the new one takes or the old one leaves
(`docs/decisions/0007`).
"""

import hashlib

from fleetmend.settings.collectors import CollectorsSettings


def shard_of(key: str, shards: int) -> int:
    """The shard, from 0, that a node or engine belongs to."""

    def weight(shard: int) -> bytes:
        return hashlib.blake2b(f"{shard}/{key}".encode(), digest_size=8).digest()

    return max(range(shards), key=weight)


def share_of(settings: CollectorsSettings) -> CollectorsSettings:
    """What this shard does of everything that the settings name."""
    shards, shard = settings.shards, settings.shard
    if shards == 1:
        return settings
    # An engine's page and its probe go together: the probe wants to know the load.
    own = settings.model_copy(
        update={
            "targets": tuple(
                t for t in settings.targets if shard_of(t.engine or t.node, shards) == shard
            ),
            "probe": settings.probe.model_copy(
                update={
                    "replicas": tuple(
                        r for r in settings.probe.replicas if shard_of(r.engine, shards) == shard
                    )
                }
            ),
        }
    )
    if shard == 0:
        return own
    return own.model_copy(
        update={
            "kernel_logs": (),
            "engine_logs": (),
            "kubernetes": settings.kubernetes.model_copy(update={"enabled": False}),
            "otlp": settings.otlp.model_copy(
                update={"http_port": 0, "grpc_port": 0, "kafka_bootstrap": ""}
            ),
        }
    )


def shard_name(name: str, settings: CollectorsSettings) -> str:
    """The name of a collector that every shard runs: marks are told apart by it."""
    return name if settings.shards == 1 else f"{name}-{settings.shard}"
