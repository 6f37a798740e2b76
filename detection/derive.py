"""Signals that no source sends but that tell faults apart, computed from those that are sent.

Called by the stage after the samples of a tick are in and before anybody judges them. The names are
part of the vocabulary in docs/spine.md.
"""

from dataclasses import dataclass

import numpy as np

from detection.blocks import Block
from detection.links import Links
from detection.robust import Floats, divide, first_and_last
from fleetmend.model.entities import EntityKind

FLOW_TICKS = 8
"""Ticks over which arrivals are counted: a Poisson stream of 4 a second is then known to 18 %."""
SPEED_TICKS = 3
"""Ticks over which rates are smoothed that many events a second make up."""
REQUESTS_MIN = 3.0
"""Requests below which a mean per request is left unknown."""
PREFILL_WEIGHT = 0.25
"""Cost of a prompt token in tokens generated: both pass all layers once, but prompt tokens share
the reading of the weights among them, and generated ones only within the batch."""
NVLINK_MIN = 1e8
"""Bytes per second below which NVLink carries nothing worth a ratio."""


@dataclass(frozen=True, slots=True)
class Derived:
    """One derived signal."""

    name: str
    kind: EntityKind
    unit: str
    meaning: str


DERIVED = (
    Derived("engine.arrival_rate", EntityKind.ENGINE, "{request}/s", "Requests that came in"),
    Derived(
        "engine.admission_rate", EntityKind.ENGINE, "{request}/s", "Requests that began to run"
    ),
    Derived(
        "engine.prompt_tokens_per_request",
        EntityKind.ENGINE,
        "{token}",
        "Prompt tokens processed per request that began to run",
    ),
    Derived(
        "engine.decode_rate",
        EntityKind.ENGINE,
        "{token}/s",
        "Tokens generated a second per running request",
    ),
    Derived(
        "gpu.work_per_token",
        EntityKind.GPU,
        "s",
        "SM-active seconds per token of the engine that runs on the GPU",
    ),
    Derived(
        "gpu.nvlink_per_step",
        EntityKind.GPU,
        "By",
        "Bytes over NVLink per step of the rank on the GPU, or per token of its engine",
    ),
)


def derive(engine: Block, gpu: Block, links: Links, period_s: float) -> None:
    """Write the derived signals of this tick into the blocks of engines and GPUs.

    They are unknown where their parts are, and in ticks in which the engine was not heard.
    """
    if engine.shape[0]:
        heard = ~np.isnan(engine.now("engine.requests_running"))
        _write_flow(engine, heard, period_s)
        _write_speed(engine, heard)
    if engine.shape[0] and gpu.shape[0]:
        _write_work(engine, gpu, links)


def _write_flow(engine: Block, heard: np.ndarray, period_s: float) -> None:
    done = engine.mean("engine.requests_done", FLOW_TICKS)
    running = _growth(engine, "engine.requests_running", period_s)
    waiting = _growth(engine, "engine.requests_waiting", period_s)
    first_tokens = engine.mean("engine.requests_first_token", FLOW_TICKS)
    admitted = np.where(np.isnan(first_tokens), done + running, first_tokens)
    admitted = np.where(heard, np.maximum(admitted, 0.0), np.nan)
    arrived = done + running + np.where(np.isnan(waiting), 0.0, waiting)
    engine.write("engine.admission_rate", admitted)
    engine.write("engine.arrival_rate", np.where(heard, np.maximum(arrived, 0.0), np.nan))
    enough = admitted * FLOW_TICKS * period_s >= REQUESTS_MIN
    prompts = engine.mean("engine.prompt_tokens", FLOW_TICKS)
    engine.write(
        "engine.prompt_tokens_per_request", np.where(enough, divide(prompts, admitted), np.nan)
    )


def _write_speed(engine: Block, heard: np.ndarray) -> None:
    running = engine.mean("engine.requests_running", SPEED_TICKS)
    tokens = engine.mean("engine.generation_tokens", SPEED_TICKS)
    speed = divide(tokens, running)
    engine.write("engine.decode_rate", np.where(heard & (running >= 1.0), speed, np.nan))


def _write_work(engine: Block, gpu: Block, links: Links) -> None:
    generated = engine.mean("engine.generation_tokens", SPEED_TICKS)
    prompts = engine.mean("engine.prompt_tokens", SPEED_TICKS)
    tokens = generated + PREFILL_WEIGHT * np.where(np.isnan(prompts), 0.0, prompts)
    tokens = np.where(engine.age("engine.generation_tokens") < SPEED_TICKS, tokens, np.nan)
    on_gpu = links.engine_gpu.total(tokens, gpu.shape[0])
    steps = gpu.now("gpu.step_rate")
    moved = np.fmax(gpu.now("gpu.nvlink_tx"), gpu.now("gpu.nvlink_tx_bytes"))
    moved = np.where(moved >= NVLINK_MIN, moved, np.nan)
    gpu.write("gpu.nvlink_per_step", divide(moved, np.where(np.isnan(steps), on_gpu, steps)))
    active = gpu.mean("gpu.sm_active", SPEED_TICKS)
    active = np.where(np.isnan(gpu.now("gpu.sm_active")), np.nan, active)
    gpu.write("gpu.work_per_token", np.where(on_gpu >= 1.0, divide(active, on_gpu), np.nan))


def _growth(engine: Block, signal: str, period_s: float) -> Floats:
    """Change per second over the flow window."""
    begin, end, apart = first_and_last(engine.recent(signal, FLOW_TICKS))
    return divide(end - begin, apart * period_s)
