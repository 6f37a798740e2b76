"""Our own records on the wire: `{"schema": 1, "body": {...}}`, JSON of the model's dataclasses.

Called by `fleetmend.streams.codec` alone. Unknown keys, wrong types and numbers that are not finite
are refused both ways: a finding with NaN in it would compare as nothing and poison whoever reads
it.
"""

import json
from collections.abc import Callable, Iterable
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityId, split_entity_id

BodyT = TypeVar("BodyT")


class _Document(BaseModel, Generic[BodyT]):
    """The envelope; its rules hold for the dataclasses inside as well."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    version: Literal[1] = Field(alias="schema")
    body: BodyT


class DocumentCodec(Generic[BodyT]):
    """Reads and writes one kind of record."""

    def __init__(
        self, kind: type[BodyT], entities: Callable[[BodyT], Iterable[str]] = lambda _: ()
    ) -> None:
        """`entities`: everything in a record that must be an entity id."""
        self._entities = entities
        self._name = kind.__name__
        self._writer = TypeAdapter(kind)
        self._reader = _Document[kind]  # type: ignore[valid-type]  # a class made at run time

    def encode(self, body: BodyT) -> bytes:
        """`body` as JSON. Raises BadInput for numbers that are not finite, for lone surrogates and
        for what is no entity id where one must stand."""
        self._check(body)
        try:
            plain = self._writer.dump_python(body, mode="json", warnings="error")
            document = {"schema": 1, "body": plain}
            text = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
            return text.encode()
        except (PydanticSerializationError, TypeError, ValueError) as error:
            raise BadInput(f"{self._name} cannot be written: {error}") from error

    def decode(self, value: bytes) -> BodyT:
        """The record in `value`. Raises BadInput."""
        try:
            body: BodyT = self._reader.model_validate_json(value).body
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"])[:200]
            raise BadInput(f"not a {self._name}: {place}: {first['msg'][:200]}") from error
        self._check(body)
        return body

    def _check(self, body: BodyT) -> None:
        for entity in self._entities(body):
            split_entity_id(EntityId(entity))
