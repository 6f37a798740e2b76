"""OpenTelemetry's attributes that say whose a metric is, as the labels that naming knows.

`data/identities.csv` is the truth; `collectors.otlp` reads it.
"""

import csv
import functools
from collections.abc import Mapping
from importlib import resources


@functools.cache
def identities() -> tuple[tuple[str, str], ...]:
    """Attribute and label, the more telling first."""
    text = (resources.files("fleetmend.signals") / "data" / "identities.csv").read_text("utf-8")
    return tuple((row["attribute"], row["label"]) for row in csv.DictReader(text.splitlines()))


def with_identities(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes and, beside them, the labels that they stand for where those are missing."""
    labels = dict(attributes)
    for attribute, label in identities():
        value = attributes.get(attribute)
        if value:
            labels.setdefault(label, value)
    # The conventions ask of hw.id only that it is unique within its host.
    number = labels.get("hw.id", "")
    if number and not number.startswith(("GPU-", "MIG-")):
        del labels["hw.id"]
        if number.isdecimal():
            labels.setdefault("gpu", number)
    return labels
