"""Reading the cluster API's JSON without trusting its shape. Used by the `kube_*` modules.

What the schema says is there may be missing or of another kind: then there is nothing. Texts are
cut to a sane length: names are checked by the API, reasons and messages are not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT_MAX = 253
"""The limit of a Kubernetes name."""

Object = Mapping[str, Any]
"""A Kubernetes object as the API's JSON; the API's schema is its type."""


def at(obj: Any, *path: str) -> Any:
    """What lies at a path of keys; None where it ends early."""
    for key in path:
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj


def text(obj: Any, *path: str, most: int = TEXT_MAX) -> str:
    """The value at a path as text of at most `most` characters; empty where there is none."""
    value = at(obj, *path)
    return str(value)[:most] if value is not None else ""


def mapping(obj: Any, *path: str) -> Mapping[str, Any]:
    """The map at a path; an empty one where there is none."""
    value = at(obj, *path)
    return value if isinstance(value, Mapping) else {}


def items(obj: Any, *path: str) -> list[Any]:
    """The list at a path; an empty one where there is none."""
    value = at(obj, *path)
    return value if isinstance(value, list) else []


def name_of(obj: Object) -> str:
    """The object's name."""
    return text(obj, "metadata", "name")


def namespace_of(obj: Object) -> str:
    """The object's namespace; empty for a node."""
    return text(obj, "metadata", "namespace")


def identity(obj: Object) -> str:
    """What makes an object itself, also when another one gets its name."""
    return text(obj, "metadata", "uid") or name_of(obj)


def version(obj: Object) -> str:
    """The object's resource version."""
    return text(obj, "metadata", "resourceVersion")


def labels_of(obj: Object) -> Mapping[str, Any]:
    """The object's labels."""
    return mapping(obj, "metadata", "labels")


@dataclass(frozen=True, slots=True)
class Writers:
    """Who wrote what of an object, by the API's managed fields. Held only while a change is told:
    they are half of an object."""

    managed: tuple[Any, ...] = ()

    @classmethod
    def of(cls, obj: Object) -> "Writers":
        """Those of an object."""
        return cls(tuple(items(obj, "metadata", "managedFields")))

    def last(self, *path: str) -> str:
        """Who last wrote the field at `path`, or below it; empty when nobody owns it any more, as
        after a removal. A part of the path that begins with `k:` names an item of a list."""
        steps = [part if part.startswith("k:") else f"f:{part}" for part in path]
        newest, found = "", ""
        for entry in self.managed:
            if at(entry, "fieldsV1", *steps) is None:
                continue
            written = text(entry, "time")
            if written >= newest:
                newest, found = written, text(entry, "manager")
        return found


NOBODY = Writers()
"""Where nobody can be named."""
