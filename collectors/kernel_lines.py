"""The forms of a kernel log line: /dev/kmsg records, `dmesg`, `dmesg -x`.

What matters is the facility: only facility 0 (kern) is written by the kernel itself; user space can
write any text with facility 1 and up, and then it is an application's word.
"""

import re
from dataclasses import dataclass

from fleetmend.model.events import Witness

_RECORD = re.compile(r"(\d{1,6}),(\d{1,20}),(\d{1,20}),[^;]{0,200};(.*)", re.DOTALL)
"""Priority, sequence number, microseconds since boot (Documentation/ABI/testing/dev-kmsg)."""
_DECODED = re.compile(
    r"(kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|local[0-7])\s*"
    r":[a-z]{2,6}\s*: "
)
_STAMP = re.compile(r"\[\s*(\d{1,12}\.\d{1,9})\] ?")
_KERNEL_FACILITY = 0


@dataclass(frozen=True, slots=True)
class KernelLine:
    """One line, taken apart."""

    text: str
    facility: int | None
    """None when the form does not tell."""
    sequence: int | None = None
    since_boot_s: float | None = None

    def witness(self, *, untold: Witness) -> Witness:
        """What the line is evidence of; `untold` when its form does not tell the facility."""
        if self.facility is None:
            return untold
        kernel = self.facility == _KERNEL_FACILITY
        return Witness.KERNEL_LOG if kernel else Witness.APPLICATION_LOG


def parse_kernel_line(line: str) -> KernelLine:
    """Take a line of any of the forms apart; a line of no form is all text."""
    record = _RECORD.fullmatch(line)
    if record is not None:
        priority, sequence, since_us, text = record.groups()
        # Continuation lines of a record (` SUBSYSTEM=pci`) describe the device, not the event.
        text = text.split("\n", 1)[0]
        return KernelLine(text, int(priority) >> 3, int(sequence), int(since_us) / 1e6)
    facility: int | None = None
    decoded = _DECODED.match(line)
    if decoded is not None:
        facility = _KERNEL_FACILITY if decoded[1] == "kern" else 1
        line = line[decoded.end() :]
    stamp = _STAMP.match(line)
    if stamp is None:
        return KernelLine(line, facility)
    return KernelLine(line[stamp.end() :], facility, since_boot_s=float(stamp[1]))
