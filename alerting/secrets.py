"""Secrets from files. Their text goes into a request and nowhere else: not into errors or logs."""

from pathlib import Path

from fleetmend.errors import PortError

_BYTES_MAX = 4096


class SecretFile:
    """A file with one secret a line, read at each use so that it can be exchanged at any time."""

    def __init__(self, path: str) -> None:
        self._path = path

    def lines(self) -> tuple[str, ...]:
        """The secrets, without blank lines. Raises PortError when there is none to be read."""
        fix = "Write the secret there, readable for this process only."
        try:
            with Path(self._path).open("rb") as file:
                content = file.read(_BYTES_MAX + 1)
            text = content.decode("ascii")
        except OSError as error:
            raise PortError(
                f"the secret file cannot be read: {error.strerror}", where=self._path, fix=fix
            ) from error
        except UnicodeDecodeError:
            # Not chained: that error holds the file's content.
            raise PortError("the secret file is not ASCII", where=self._path, fix=fix) from None
        found = tuple(line.strip() for line in text.splitlines() if line.strip())
        if not found or len(content) > _BYTES_MAX:
            raise PortError("the secret file is empty or too long", where=self._path, fix=fix)
        return found
