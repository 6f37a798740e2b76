"""Every action that there is, by kind: what runbooks may name and the executor can do."""

from collections.abc import Mapping

from fleetmend.model.plans import ActionKind
from remediation.actions.base import Action
from remediation.actions.cordon import Cordon
from remediation.actions.drain import Drain
from remediation.actions.eject import Eject
from remediation.actions.engine_restart import EngineRestart
from remediation.actions.notify import Notify
from remediation.actions.restore import Restore
from remediation.actions.uncordon import Uncordon

DRAIN_PARALLEL = 4
"""Evictions under way at once where the settings are not at hand."""


def actions(*, drain_parallel: int = DRAIN_PARALLEL) -> Mapping[ActionKind, Action]:
    """One of each kind."""
    every: tuple[Action, ...] = (
        Cordon(),
        Uncordon(),
        Drain(parallel=drain_parallel),
        EngineRestart(),
        Eject(),
        Restore(),
        Notify(),
    )
    return {action.kind: action for action in every}
