"""Keys and values of the object's maps, as `gpu.bpf.c` declares them; a test compares the sizes."""

import ctypes as c

RECORD_TEXT_MAX = 224

_U32, _S32, _U64, _S64 = c.c_uint32, c.c_int32, c.c_uint64, c.c_int64


class Place(c.Structure):
    """Where something is held: an address or handle of a process."""

    _fields_ = (("pid", _U32), ("space", _U32), ("address", _U64))


class Held(c.Structure):
    """An allocation that lives, or a mapping of one."""

    _fields_ = (("bytes", _U64), ("handle", _U64), ("device", _S32), ("refs", _U32))


class Owner(c.Structure):
    """A process on a device; device -1 when it is not known."""

    _fields_ = (("pid", _U32), ("device", _S32))


class Usage(c.Structure):
    """What a process did with a device since it was first seen."""

    _fields_ = (
        ("outstanding", _S64),
        ("allocations", _U64),
        ("allocated_bytes", _U64),
        ("frees", _U64),
        ("freed_bytes", _U64),
        ("failures", _U64),
        ("failed_bytes", _U64),
        ("failed_code", _U64),
        ("unknown_frees", _U64),
        ("untracked", _U64),
        ("replaced", _U64),
        ("graph_launches", _U64),
        ("kernel_launches", _U64),
        ("waits", _U64),
        ("wait_ns", _U64),
    )


class Call(c.Structure):
    """A thread inside a kind of call; the upper half of `thread` is the process."""

    _fields_ = (("thread", _U64), ("kind", _U32), ("pad", _U32))


class Pending(c.Structure):
    """What the entry of a call saw."""

    _fields_ = (
        ("out", _U64),
        ("a", _U64),
        ("b", _U64),
        ("device", _S32),
        ("found", _U32),
        ("held", Held),
    )


class Wait(c.Structure):
    """A wait that has not returned."""

    _fields_ = (("since_ns", _U64), ("device", _S32), ("pad", _U32))


class Member(c.Structure):
    """A communicator or context of a process."""

    _fields_ = (("pid", _U32), ("pad", _U32), ("address", _U64))


class Enqueues(c.Structure):
    """Collectives that a rank put into a communicator."""

    _fields_ = (
        ("calls", _U64),
        ("last_ns", _U64),
        ("identity", _U64),
        ("rank", _S32),
        ("ranks", _S32),
        ("aborted", _U32),
        ("device", _S32),
    )


class Blocked(c.Structure):
    """A thread that sleeps uninterruptibly now."""

    _fields_ = (("since_ns", _U64), ("pid", _U32), ("pad", _U32))


class Stall(c.Structure):
    """Uninterruptible sleeps of a process that were longer than the limit."""

    _fields_ = (("count", _U64), ("total_ns", _U64), ("longest_ns", _U64))


class Record(c.Structure):
    """One thing that happened, from the ring buffer."""

    _fields_ = (
        ("at_ns", _U64),
        ("kind", _U32),
        ("pid", _U32),
        ("code", _U32),
        ("pad", _U32),
        ("name", c.c_char * 16),
        ("text", c.c_char * RECORD_TEXT_MAX),
    )


MAPS: dict[str, tuple[type, type]] = {
    "live": (Place, Held),
    "usages": (Owner, Usage),
    "calls": (Call, Pending),
    "waits": (Call, Wait),
    "contexts": (Member, _S32),
    "current_device": (_U64, _S32),
    "communicators": (Member, Enqueues),
    "tracked": (_U32, _U32),
    "blocked": (_U32, Blocked),
    "stalls": (_U32, Stall),
    "totals": (_U32, _U64),
    "limits": (_U32, _U64),
}
"""Key and value of each map by name; `totals` has one value for each processor."""

RETRANSMITS, LOST_RECORDS, LOST_CALLS = range(3)
"""Keys of `totals`."""
STALL_NS = 0
"""Key of `limits`."""
OOM_VICTIM, PROCESS_EXIT, XID, SXID = range(1, 5)
"""Kinds of records."""
WAIT_KINDS = {32: "stream", 33: "event", 34: "context"}
"""What a waiting call waits for."""
