"""The few functions of libbpf.so.1 that `collectors.ebpf` uses, by ctypes; nodes need no compiler.

`collectors.ebpf.loaded` loads the committed object with it, `links` attaches, `maps` reads. Errors
of the library become `BpfError` with the errno and what libbpf said about it.
"""

import ctypes as c
import errno
import os
from collections.abc import Callable
from functools import cache

from fleetmend.errors import PortError

_LOG_MAX = 16_384
"""Bytes of libbpf's words that are kept: a refused program prints its whole trace."""
_WORDS_MAX = 400

_P = c.c_void_p
_FUNCTIONS: tuple[tuple[str, list[type], type | None], ...] = (
    ("bpf_object__open_file", [c.c_char_p, _P], _P),
    ("bpf_object__load", [_P], c.c_int),
    ("bpf_object__close", [_P], None),
    ("bpf_object__next_program", [_P, _P], _P),
    ("bpf_object__find_program_by_name", [_P, c.c_char_p], _P),
    ("bpf_object__find_map_by_name", [_P, c.c_char_p], _P),
    ("bpf_map__fd", [_P], c.c_int),
    ("bpf_map__reuse_fd", [_P, c.c_int], c.c_int),
    ("bpf_program__name", [_P], c.c_char_p),
    ("bpf_program__fd", [_P], c.c_int),
    ("bpf_program__set_expected_attach_type", [_P, c.c_int], c.c_int),
    ("bpf_program__set_autoload", [_P, c.c_bool], c.c_int),
    ("bpf_program__attach", [_P], _P),
    ("bpf_program__attach_uprobe_opts", [_P, c.c_int, c.c_char_p, c.c_size_t, _P], _P),
    ("bpf_link__destroy", [_P], c.c_int),
    ("bpf_map_lookup_elem", [c.c_int, _P, _P], c.c_int),
    ("bpf_map_update_elem", [c.c_int, _P, _P, c.c_uint64], c.c_int),
    ("bpf_map_delete_elem", [c.c_int, _P], c.c_int),
    ("bpf_map_get_next_key", [c.c_int, _P, _P], c.c_int),
    ("libbpf_num_possible_cpus", [], c.c_int),
    ("libbpf_set_print", [_P], _P),
    ("ring_buffer__new", [c.c_int, _P, _P, _P], _P),
    ("ring_buffer__epoll_fd", [_P], c.c_int),
    ("ring_buffer__consume", [_P], c.c_int),
    ("ring_buffer__free", [_P], None),
)
_PRINT = c.CFUNCTYPE(c.c_int, c.c_int, c.c_char_p, _P)


class BpfError(PortError):
    """The kernel or libbpf did not do what was asked."""

    def __init__(self, what: str, code: int, words: str = "") -> None:
        self.code = code
        """The errno, positive."""
        name = errno.errorcode.get(code, str(code))
        said = f": {words}" if words else ""
        super().__init__(f"{what}: {name} ({os.strerror(code)}){said}", where="eBPF")


class UprobeOptions(c.Structure):
    """`struct bpf_uprobe_opts` of libbpf 1.0; `sz` tells newer ones what is missing."""

    _fields_ = (
        ("sz", c.c_size_t),
        ("ref_ctr_offset", c.c_size_t),
        ("bpf_cookie", c.c_uint64),
        ("retprobe", c.c_bool),
        ("func_name", c.c_char_p),
    )


class Libbpf:
    """The library, with what it said last."""

    def __init__(self, name: str = "libbpf.so.1") -> None:
        """Raises BpfError when there is none, or one that lacks a function."""
        try:
            self._dll = c.CDLL(name, use_errno=True)
            for function, arguments, result in _FUNCTIONS:
                bound = getattr(self._dll, function)
                bound.argtypes, bound.restype = arguments, result
        except (OSError, AttributeError) as error:
            raise BpfError(
                f"{name} cannot be used", errno.ENOENT, str(error)[:_WORDS_MAX]
            ) from error
        self._said: list[str] = []
        self._size = 0
        self._format: Callable[..., int] = c.CDLL(None).vsnprintf
        self._printer = _PRINT(self._hear)  # kept: libbpf calls it as long as it is loaded
        self._dll.libbpf_set_print(c.cast(self._printer, _P))

    def _hear(self, _level: int, form: bytes, values: int) -> int:
        line = c.create_string_buffer(1024)
        self._format(line, c.c_size_t(len(line)), c.c_char_p(form), c.c_void_p(values))
        if self._size < _LOG_MAX:
            self._size += len(line.value)
            self._said.append(line.value.decode(errors="backslashreplace"))
        return 0

    def words(self) -> str:
        """What libbpf has said since this was last asked: the lines that tell why, capped."""
        text, self._said, self._size = "".join(self._said), [], 0
        lines = [line.removeprefix("libbpf: ").strip() for line in text.splitlines()]
        telling = [x for x in lines if x and "skipped loading" not in x]
        return "; ".join(telling)[-_WORDS_MAX:]

    def call(self, function: str, *arguments: object) -> int:
        """A call whose result is a number; raises BpfError when it is negative."""
        result = int(getattr(self._dll, function)(*arguments))
        if result < 0:
            raise BpfError(function, c.get_errno() or -result, self.words())
        return result

    def pointer(self, function: str, *arguments: object) -> int:
        """A call whose result is a pointer; raises BpfError when it is null."""
        result = getattr(self._dll, function)(*arguments)
        if not result:
            raise BpfError(function, c.get_errno() or errno.EINVAL, self.words())
        return int(result)

    def asked(self, function: str, *arguments: object) -> int:
        """A call that may fail as a matter of course: its result, or minus the errno."""
        result = getattr(self._dll, function)(*arguments)
        return int(result or 0)

    def name_of(self, program: int) -> str:
        """The name of a program."""
        name: bytes = self._dll.bpf_program__name(program)
        return name.decode()


@cache
def libbpf() -> Libbpf:
    """The library of this process. Raises BpfError when there is none."""
    return Libbpf()
