"""The key of the audit log: a secret in a file that the database's administrator cannot read.

Called by `Store`. The key itself is never logged, printed or kept in the database.
"""

from pathlib import Path

from fleetmend.errors import SettingsError

KEY_CHARS_MIN = 32


def read_key(path: str) -> bytes:
    """The key in the file, without white space around it; empty when no file is named. Raises
    SettingsError when the file cannot be read or holds too little."""
    if not path:
        return b""
    where = "store.audit_key_file"
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}", where=where) from error
    if len(key) < KEY_CHARS_MIN:
        raise SettingsError(
            f"{path} holds fewer than {KEY_CHARS_MIN} characters",
            where=where,
            fix="Write 32 random bytes into it: openssl rand -hex 32.",
        )
    return key
