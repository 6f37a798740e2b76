"""A halt switch in a ConfigMap: works for everybody who may edit it, with this platform down.

`data.halted` is `true` or `false`; anything else, and a map that cannot be read, means halted.
Wired by the composition root beside the file (`remediation.halt.AnyHalt`).
"""

from dataclasses import replace

from fleetmend.errors import PortError, SettingsError
from fleetmend.ports.halt import HaltState
from remediation.halt import unknown
from remediation.kubernetes_rest import MERGE_PATCH, Rest

TEXT_MAX = 500


class ConfigMapHalt:
    """Implements `fleetmend.ports.halt.HaltSwitch`."""

    def __init__(self, rest: Rest, place: str) -> None:
        """`place` is `namespace/name`. Raises SettingsError."""
        namespace, _, name = place.partition("/")
        if not namespace or not name or "/" in name:
            raise SettingsError(
                f"{place!r} is not namespace/name", where="remediation.halt_configmap"
            )
        self._rest = rest
        self._where = f"ConfigMap {place}"
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"

    def state(self) -> HaltState:
        """What the map says now; halted when it says nothing that can be read."""
        return replace(self._read(), where=self._where)

    def set(self, state: HaltState) -> None:
        """Write it. Raises PortError; PortRefused when there is no such map."""
        data = {
            "halted": "true" if state.halted else "false",
            "by": state.by,
            "reason": state.reason,
        }
        self._rest.patch(self._path, {"data": data}, content_type=MERGE_PATCH)

    def _read(self) -> HaltState:
        try:
            found = self._rest.get(self._path)
        except PortError as error:
            return unknown(f"cannot be read: {error}")
        data = (found or {}).get("data")
        if not isinstance(data, dict) or data.get("halted") not in ("true", "false"):
            return unknown(f"{self._path} does not say")
        return HaltState(
            halted=data["halted"] == "true",
            by=str(data.get("by", ""))[:TEXT_MAX],
            reason=str(data.get("reason", ""))[:TEXT_MAX],
        )
