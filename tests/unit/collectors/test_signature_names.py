"""What collectors call a log line is what detection has a policy for, name by name."""

import ast
import csv
from collections.abc import Iterator
from pathlib import Path

from collectors.signatures import signatures

ROOT = Path(__file__).parents[3]
OWN_EVENT_TYPE = {"xid", "sxid"}
"""Signatures that become events of their own type, with tables of their own in detection."""


def in_code() -> set[str]:
    """Signatures that collectors name in their code: what they set under the key `signature`."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "collectors").rglob("*.py"))
    nodes = [node for tree in trees for node in ast.walk(tree)]
    found: list[ast.expr] = []
    for node in nodes:
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found += [value for key, value in pairs if is_signature(key)]
        if isinstance(node, ast.Assign):
            found += [
                node.value
                for target in node.targets
                if isinstance(target, ast.Subscript) and is_signature(target.slice)
            ]
    return {name for value in found for name in constants(value)}


def is_signature(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and key.value == "signature"


def constants(value: ast.expr) -> Iterator[str]:
    """The texts that an expression may give; `match.name` is one of the catalogue's."""
    if isinstance(value, ast.IfExp):
        yield from constants(value.body)
        yield from constants(value.orelse)
    elif isinstance(value, ast.Constant):
        yield str(value.value)
    else:
        assert ast.unparse(value) == "match.name", "this test cannot tell what is named here"


def test_every_signature_that_can_be_told_has_a_policy_and_every_policy_a_signature() -> None:
    told = {signature.name for signature in signatures() if not signature.adds_to}
    with (ROOT / "detection" / "data" / "signatures.csv").open() as file:
        policies = [row["signature"] for row in csv.DictReader(file)]
    assert len(policies) == len(set(policies))
    assert told > OWN_EVENT_TYPE
    assert (told | in_code()) - OWN_EVENT_TYPE == set(policies)


def test_a_signature_adds_to_one_that_there_is() -> None:
    names = {signature.name for signature in signatures() if not signature.adds_to}
    assert {signature.adds_to for signature in signatures() if signature.adds_to} <= names
