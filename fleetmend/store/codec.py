"""JSON columns: the model's dataclasses to JSON values and back, by pydantic.

Used by every repository of the store. Text that a database or a reader would choke on (NUL, lone
surrogates: telemetry is hostile) becomes U+FFFD on the way in, and numbers that JSON lacks become
words, so that whatever was written can be read again.
"""

import math
from typing import Generic, TypeVar, cast

from pydantic import TypeAdapter

T = TypeVar("T")

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Codec(Generic[T]):
    """Values of one type, to and from what a JSON column holds."""

    def __init__(self, kind: type[T]) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def encode(self, value: T) -> Json:
        """The JSON form."""
        return clean(cast(Json, self._adapter.dump_python(value, mode="json")))

    def decode(self, value: Json) -> T:
        """The value again."""
        return self._adapter.validate_python(value)


def clean(value: Json) -> Json:
    """The same JSON, storable on both databases."""
    match value:
        case str():
            return plain(value)
        case float() if not math.isfinite(value):
            return str(value)
        case list():
            return [clean(item) for item in value]
        case dict():
            return {plain(key): clean(item) for key, item in value.items()}
        case _:
            return value


def plain(text: str, chars_max: int | None = None) -> str:
    """Text without NUL and lone surrogates, cut at `chars_max`."""
    cut = text if chars_max is None else text[:chars_max]
    if cut.isascii():
        return cut.replace("\x00", "\ufffd")
    whole = cut.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\x00", "\ufffd")
