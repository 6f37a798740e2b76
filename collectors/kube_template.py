"""What a pod template says, place by place, so that two of them can be compared in words.

Used by `kube_workloads`. Arguments and limits are shown as they are, everything else (environment,
volumes, probes ...) only as changed or not: values of variables are secrets too often. Arguments
whose name or value looks like a secret are not shown either.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from collectors.kube_json import items, mapping, text

HIDDEN = "#"
"""First character of a value that is not shown: a digest follows."""
RESTARTED = "kubectl.kubernetes.io/restartedAt"
"""The annotation by which `kubectl rollout restart` changes a template."""
_PLACES_MAX = 512
_VALUE_MAX = 120
_SECRET_NAME = re.compile(
    r"(?i)(?:api|access|secret|private)[-_]?key|passw|secret|credential|(?:^|[-_])(?:token|key)$"
)
_SECRET_VALUE = re.compile(
    r"(?i)\b(?:sk|hf|ghp|glpat)[-_]\w{8}|://[^/\s]*:[^/\s]*@|(?:key|token|password)="
)

_OWN_PLACE = frozenset({"name", "image", "command", "args", "env", "resources"})
_CONTAINERS = ("containers", "initContainers")


def images(template: Any) -> tuple[tuple[str, str], ...]:
    """Container and image, in the template's order."""
    return tuple((text(one, "name"), text(one, "image")) for one in _containers(template))


def restarted(template: Any) -> str:
    """When somebody last asked for a restart, as written."""
    return text(template, "metadata", "annotations", RESTARTED)


def settings(template: Any) -> dict[str, str]:
    """Value by place, images and restarts left out: those are changes of other kinds."""
    found = dict(chain(_of_pod(template), *map(_of_container, _containers(template))))
    if len(found) > _PLACES_MAX:
        return {"template": _hidden(sorted(found.items()))}
    return found


def paths(place: str) -> tuple[tuple[str, ...], ...]:
    """Where the API's managed fields may say who wrote what is at a place of `settings`."""
    first, _, rest = place.partition(" ")
    if not rest:
        return (("spec", first),)
    if first in ("labels", "annotations"):
        return (("metadata", first, rest),)
    kind, _, name = rest.partition(" ")
    fields: tuple[tuple[str, ...], ...] = ((kind,),)
    if kind.startswith("-") or rest == "command":
        fields = (("args",), ("command",))
    elif kind == "env":
        fields = (("env", item(name)),)
    elif kind in ("limits", "requests"):
        fields = (("resources", kind, name),)
    return tuple((*container(first, among), *field) for among in _CONTAINERS for field in fields)


def container(name: str, among: str = "containers") -> tuple[str, ...]:
    """Where they speak of a container."""
    return ("spec", among, item(name))


def item(name: str) -> str:
    """How they name an item of a list."""
    return f"k:{json.dumps({'name': name}, separators=(',', ':'))}"


def config_maps(template: Any) -> frozenset[str]:
    """Names of the ConfigMaps that the template refers to."""
    names = set()
    for volume in items(template, "spec", "volumes"):
        names.add(text(volume, "configMap", "name"))
        for source in items(volume, "projected", "sources"):
            names.add(text(source, "configMap", "name"))
    for container in _containers(template):
        for source in items(container, "envFrom"):
            names.add(text(source, "configMapRef", "name"))
        for variable in items(container, "env"):
            names.add(text(variable, "valueFrom", "configMapKeyRef", "name"))
    return frozenset(names - {""})


def digest(value: Any) -> str:
    """A short digest of a JSON value."""
    plain = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(plain.encode(), digest_size=6).hexdigest()


def _hidden(value: Any) -> str:
    return HIDDEN + digest(value)


def _containers(template: Any) -> Iterator[Any]:
    for kind in _CONTAINERS:
        yield from items(template, "spec", kind)


def _of_pod(template: Any) -> Iterator[tuple[str, str]]:
    for kind in ("labels", "annotations"):
        for key, value in mapping(template, "metadata", kind).items():
            if key != RESTARTED:
                yield f"{kind} {key}", _hidden(value)
    for key, value in mapping(template, "spec").items():
        if key not in _CONTAINERS:
            yield str(key), _hidden(value)


def _of_container(container: Any) -> Iterator[tuple[str, str]]:
    name = text(container, "name")
    for place, value in _arguments(container):
        yield f"{name} {place}", value
    for variable in items(container, "env"):
        yield f"{name} env {text(variable, 'name')}", _hidden(variable)
    for kind in ("limits", "requests"):
        for resource, amount in mapping(container, "resources", kind).items():
            yield f"{name} {kind} {resource}", str(amount)[:_VALUE_MAX]
    for key, value in mapping(container).items():
        if key not in _OWN_PLACE:
            yield f"{name} {key}", _hidden(value)


def _arguments(container: Any) -> Iterator[tuple[str, str]]:
    """`--flag value`, `--flag=value` and `--flag` each under its flag; what comes before the first
    under `command`."""
    words = [
        word
        for given in ("command", "args")
        for whole in items(container, given)
        for word in str(whole).split()
    ]
    found: dict[str, list[str]] = {}
    place = "command"
    for word in words:
        if word.startswith("-") and not _is_number(word):
            place, equals, value = word.partition("=")
            found.setdefault(place, []).extend([value] if equals else [])
        else:
            found.setdefault(place, []).append(word)
    for place, values in found.items():
        value = " ".join(values)
        secret = _SECRET_NAME.search(place) or _SECRET_VALUE.search(value)
        too_long = len(value) > _VALUE_MAX
        yield place, _hidden(value) if secret or too_long or value.startswith(HIDDEN) else value


def _is_number(word: str) -> bool:
    return word[1:].replace(".", "", 1).isdigit()
