"""Reading and clearing the maps of loaded groups; `collectors.ebpf.counts` makes sense of them."""

import ctypes as c
import errno
from collections.abc import Iterator, Mapping
from typing import Any

from collectors.ebpf.layout import MAPS, STALL_NS, Record
from collectors.ebpf.libbpf import BpfError, Libbpf

_ANY = 0


class Maps:
    """The maps that all groups share, by name."""

    def __init__(self, lib: Libbpf, fds: Mapping[str, int]) -> None:
        self._lib = lib
        self._fds = fds

    def entries(self, name: str) -> Iterator[tuple[Any, Any]]:
        """Key and value of every entry, as the types of `layout.MAPS`. What is deleted meanwhile
        is left out; what comes meanwhile may be."""
        fd, (key_type, value_type) = self._fds[name], MAPS[name]
        for key in self._keys(fd, key_type, name):
            value = value_type()
            if self._lib.asked("bpf_map_lookup_elem", fd, c.byref(key), c.byref(value)) == 0:
                yield key, value

    def _keys(self, fd: int, key_type: type, name: str) -> list[Any]:
        """All keys; a walk that begins anew because its key was deleted ends at the bound."""
        keys: dict[bytes, Any] = {}
        last = None
        for _ in range(_BOUNDS.get(name, _BOUND)):
            key = key_type()
            before = c.byref(last) if last is not None else None
            if self._lib.asked("bpf_map_get_next_key", fd, before, c.byref(key)) < 0:
                break
            keys[bytes(key)] = last = key
        return list(keys.values())

    def delete(self, name: str, key: Any) -> None:
        """Take an entry out; one that is gone already is no error."""
        result = self._lib.asked("bpf_map_delete_elem", self._fds[name], c.byref(key))
        if result < 0 and result != -errno.ENOENT:
            raise BpfError(f"entry of {name} stays", -result)

    def put(self, name: str, key: Any, value: Any) -> None:
        """Write an entry. Raises BpfError when there is no room."""
        self._lib.call("bpf_map_update_elem", self._fds[name], c.byref(key), c.byref(value), _ANY)

    def total(self, which: int) -> int:
        """One of `totals`, summed over the processors."""
        cpus = self._lib.call("libbpf_num_possible_cpus")
        key, values = c.c_uint32(which), (c.c_uint64 * cpus)()
        self._lib.call("bpf_map_lookup_elem", self._fds["totals"], c.byref(key), c.byref(values))
        return sum(values)

    def set_stall_limit(self, least_s: float) -> None:
        """From how long on an uninterruptible sleep counts as a stall, seconds."""
        self.put("limits", c.c_uint32(STALL_NS), c.c_uint64(int(least_s * 1e9)))

    def records(self) -> "Records":
        """The ring buffer."""
        return Records(self._lib, self._fds["records"])


_BOUND = 16_384
_BOUNDS = {"live": 131_072, "current_device": 32_768}
"""Entries that a map holds at most, as `gpu.bpf.c` declares."""


class Records:
    """What happened, in order. `take` is for one thread at a time."""

    def __init__(self, lib: Libbpf, fd: int) -> None:
        self._lib = lib
        self._taken: list[Record] = []
        kind = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_size_t)
        self._callback = kind(self._take)  # kept as long as the ring is
        self._ring = lib.pointer("ring_buffer__new", fd, self._callback, None, None)
        self.fd = lib.call("ring_buffer__epoll_fd", self._ring)
        """Readable while there are records."""

    def _take(self, _context: int, data: int, size: int) -> int:
        if size >= c.sizeof(Record):
            self._taken.append(Record.from_buffer_copy(c.string_at(data, c.sizeof(Record))))
        return 0

    def take(self) -> list[Record]:
        """What came since this was last asked; at most what the ring holds (128 KiB)."""
        self._lib.call("ring_buffer__consume", self._ring)
        taken, self._taken = self._taken, []
        return taken

    def close(self) -> None:
        """Give the ring back."""
        self._lib.asked("ring_buffer__free", self._ring)
        self._ring = 0
