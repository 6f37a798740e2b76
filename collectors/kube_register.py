"""Objects that are known by their names: whoever is made anew under a name goes on as the same.

Used by `kube_changes`, one for each kind of object.
"""

from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class Register(Generic[Kept]):
    """What is kept of each name, and the uid of the object that bears it now."""

    def __init__(self) -> None:
        self.by_key: dict[str, Kept] = {}
        self._uids: dict[str, str] = {}
        self._keys: dict[str, str] = {}

    def put(self, uid: str, key: str, now: Kept) -> tuple[Kept | None, bool]:
        """Keep `now`; gives what was kept of the name, and whether the same object bore it."""
        before, bearer = self.by_key.get(key), self._uids.get(key)
        if bearer is not None and bearer != uid:
            del self._keys[bearer]
        self.by_key[key], self._uids[key], self._keys[uid] = now, uid, key
        return before, bearer == uid

    def drop(self, uid: str) -> Kept | None:
        """Forget an object; gives what was kept, or None where it bears its name no more."""
        key = self._keys.pop(uid, None)
        if key is None:
            return None
        del self._uids[key]
        return self.by_key.pop(key)

    def uids(self) -> set[str]:
        """Those that bear a name now."""
        return set(self._keys)
