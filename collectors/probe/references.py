"""Golden references in a file, so that a restart neither learns anew nor forgets how often a
healthy replica misses. One file for one collector.
"""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collectors.probe.golden import Memory, Said
from fleetmend.errors import BadInput

_BYTES_MAX = 16 * 1024 * 1024
Key = tuple[str, str, int]
"""Engine, prompt, tokens."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    engine: str
    prompt: str
    tokens_max: int
    build: str
    tokens: list[str]
    logprobs: list[float]
    checked: int = Field(ge=0)
    missed: int = Field(ge=0)
    in_a_row: int = Field(ge=0)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    entries: list[_Entry]


class References:
    """The memories of all replicas."""

    def __init__(self, path: Path) -> None:
        """Reads the file where there is one. Raises BadInput."""
        self._path = path
        self._memories: dict[Key, Memory] = {}
        self._read()

    def memory(self, engine: str, prompt: str, tokens: int) -> Memory:
        """What is known of one prompt at one replica; it may be changed in place."""
        return self._memories.setdefault((engine, prompt, tokens), Memory())

    def counts(self, engine: str) -> tuple[int, int]:
        """Comparisons and misses of all prompts at one replica, ever."""
        mine = [memory for key, memory in self._memories.items() if key[0] == engine]
        return sum(each.checked for each in mine), sum(each.missed for each in mine)

    def save(self) -> None:
        """Write what has been learnt; the file is replaced as a whole. Raises OSError."""
        entries = [
            _Entry(
                engine=engine,
                prompt=prompt,
                tokens_max=tokens,
                build=memory.build,
                tokens=list(memory.reference.tokens),
                logprobs=list(memory.reference.logprobs),
                checked=memory.checked,
                missed=memory.missed,
                in_a_row=memory.in_a_row,
            )
            for (engine, prompt, tokens), memory in sorted(self._memories.items())
            if memory.reference is not None
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(self._path.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(_File(entries=entries).model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                content = file.read(_BYTES_MAX + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            raise BadInput(f"cannot be read: {error.strerror}", where=str(self._path)) from error
        if len(content) > _BYTES_MAX:
            raise BadInput(f"is larger than {_BYTES_MAX} bytes", where=str(self._path))
        try:
            found = _File.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(
                f"holds no golden references: {first['msg']}",
                where=str(self._path),
                fix="Remove it to learn anew.",
            ) from error
        for entry in found.entries:
            if len(entry.tokens) != len(entry.logprobs) or not entry.tokens:
                raise BadInput("tokens and logprobs differ in number", where=str(self._path))
            self._memories[entry.engine, entry.prompt, entry.tokens_max] = Memory(
                build=entry.build,
                reference=Said(tuple(entry.tokens), tuple(entry.logprobs)),
                checked=entry.checked,
                missed=entry.missed,
                in_a_row=entry.in_a_row,
            )
