"""Who owns what of a node: which pod was given a GPU, and which pod a process belongs to.

`collectors.nvml.collector` asks; a thread of its own keeps the kubelet's answer fresh, so that a
kubelet that hangs delays no reading. Two sources, since neither is enough: the kubelet names the
pods of a device and not their processes; a process's control group names its pod's UID and not its
name. Without a kubelet processes are still told apart: those in a pod and those that are foreign.
"""

import logging
import re
import threading
from pathlib import Path

from collectors.pod_resources import Holders, PodRef, PodResources
from fleetmend.clock import Clock
from fleetmend.errors import BadInput, PortError
from fleetmend.settings.agent import PodsSettings

logger = logging.getLogger(__name__)

_POD = re.compile(
    rb"kubepods[^\n]{0,200}?pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})"
)
"""`kubepods/burstable/pod<uid>/...` (cgroupfs), `kubepods-burstable-pod<uid with _>.slice`
(systemd), a static pod's hash of 32 digits."""
_CGROUP_BYTES_MAX = 16_384
_LONG_S = 3600.0


def pod_uid(pid: int, *, proc: Path = Path("/proc")) -> str:
    """The UID of the pod that a process runs in; empty for a process of the host, and for one that
    is gone. The kernel writes this file; a process cannot leave its control group without the
    right to."""
    try:
        with (proc / str(pid) / "cgroup").open("rb") as file:
            text = file.read(_CGROUP_BYTES_MAX)
    except OSError:
        return ""
    found = _POD.search(text)
    return found[1].decode().replace("_", "-") if found else ""


class Pods:
    """The owners of one node's GPUs and processes. `run` in its own thread; the rest anywhere."""

    def __init__(
        self,
        settings: PodsSettings,
        *,
        clock: Clock,
        proc: Path = Path("/proc"),
        client: PodResources | None = None,
    ) -> None:
        self.failing = "not asked yet"
        """Why the kubelet's word is missing; empty while it is there."""
        self._settings = settings
        self._clock = clock
        self._proc = proc
        self._client = client
        self._holders: Holders | None = None

    def holders(self, uuid: str) -> tuple[PodRef, ...] | None:
        """Who was given this GPU or MIG instance; None when the kubelet does not tell."""
        known = self._holders
        return None if known is None else known.get(uuid, ())

    def pod_of(self, pid: int) -> str:
        """The UID of the pod of a process, or empty."""
        return pod_uid(pid, proc=self._proc)

    def run(self, stop: threading.Event) -> None:
        """Keep the answer fresh until `stop` is set."""
        if not self._settings.socket and self._client is None:
            self.failing = "no socket is set"
            while not self._clock.wait(stop, _LONG_S):
                pass
            return
        while not stop.is_set():
            self.refresh()
            self._clock.wait(stop, self._settings.refresh_s)

    def refresh(self) -> None:
        """Ask once. What was known before is forgotten when the kubelet does not answer: a pod
        that has gone must not be believed to hold its GPU."""
        if self._client is None:
            self._client = PodResources(
                Path(self._settings.socket),
                timeout_s=self._settings.timeout_s,
                answer_bytes_max=self._settings.answer_bytes_max,
                clock=self._clock,
            )
        try:
            self._holders = self._client.holders()
            failing = ""
        except (PortError, BadInput) as error:
            self._holders, failing = None, str(error)
        if failing and not self.failing:
            logger.warning("kubelet does not say who has which GPU", extra={"why": failing[:200]})
        self.failing = failing
