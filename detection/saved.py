"""Joining the states of parts into one, and taking them apart again."""

from collections.abc import Mapping

from fleetmend.streams.stage import State


def join(parts: Mapping[str, State]) -> State:
    """One state of several, each under its name."""
    return {f"{name}/{key}": value for name, part in parts.items() for key, value in part.items()}


def part(state: State, name: str) -> State:
    """What `join` put under `name`."""
    prefix = f"{name}/"
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
