"""ConfigMaps: digests by key, never what they hold. Used by `kube_sight` and `kube_changes`."""

from collections.abc import Iterable
from dataclasses import dataclass

from collectors.kube_json import Object, Writers, mapping, name_of, namespace_of
from collectors.kube_tell import Changed
from collectors.kube_template import digest
from collectors.kube_workloads import Workload

_KEYS_MAX = 256
_TOLD_MAX = 8
_DATA = ("data", "binaryData")


@dataclass(frozen=True, slots=True)
class Config:
    """One ConfigMap."""

    namespace: str
    name: str
    digests: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """`ConfigMap llm/settings`."""
        return f"ConfigMap {self.namespace}/{self.name}"


def describe_config(obj: Object) -> Config | None:
    """The digests of a ConfigMap; None for an object without a name."""
    name = name_of(obj)
    if not name:
        return None
    found = {str(key): digest(value) for part in _DATA for key, value in mapping(obj, part).items()}
    if len(found) > _KEYS_MAX:
        found = {"everything": digest(sorted(found.items()))}
    return Config(namespace_of(obj), name, tuple(sorted(found.items())))


def difference(
    before: Config, now: Config, writers: Writers, users: Iterable[Workload]
) -> Changed | None:
    """What changed, for the workloads that refer to it; None when its content is the same."""
    if before.digests == now.digests:
        return None
    was, is_now = dict(before.digests), dict(now.digests)
    keys = sorted(key for key in was | is_now if was.get(key) != is_now.get(key))
    told = [f"{key}: {was.get(key)} -> {is_now.get(key)}" for key in keys[:_TOLD_MAX]]
    if len(keys) > _TOLD_MAX:
        told.append(f"{len(keys) - _TOLD_MAX} more")
    # Whoever writes a key owns it alone then; of a removed one nobody is named.
    owners = (writers.last(part, key) for key in keys for part in _DATA)
    return _changed(now, "; ".join(told), next(filter(None, owners), ""), users)


def beginning_of(now: Config, writers: Writers, users: Iterable[Workload]) -> Changed:
    """One that was not there before."""
    who = next(filter(None, (writers.last(part) for part in _DATA)), "")
    return _changed(now, f"made with {len(now.digests)} keys", who, users)


def end_of(before: Config, users: Iterable[Workload]) -> Changed:
    """One that is gone."""
    return _changed(before, "deleted", "", users)


def _changed(config: Config, what: str, who: str, users: Iterable[Workload]) -> Changed:
    used = ", ".join(sorted(workload.key for workload in users))
    return Changed("config", "", "", who, what=f"{what} (used by {used})", object=config.key)
