"""How often a healthy engine misses golden prompts: sent alone, as the probe sends them, and beside
load, as it must not.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collectors.probe.golden import MISSES, Said, Verdict, compare
from collectors.probe.request import Answer, Ask, Asker, open_client
from deploy.parts.engine import WIDE, Engine
from fleetmend.clock import SystemClock
from fleetmend.settings.probe import GoldenSettings, ReplicaSettings
from tests.engine.conftest import Kept
from tests.engine.load import Clients
from tests.engine.watch import Watch

_CHECKS = 240
_LONG_CHECKS = 60
_PATIENCE_S = 400.0
GOLDEN = GoldenSettings()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """With a model that is wide enough for the order of its sums to matter."""
    started = Engine(tmp_path_factory.mktemp("engine"), "--max-num-seqs", "8", width=WIDE)
    yield started
    started.stop()


def test_alone_a_healthy_engine_hardly_ever_misses(
    engine: Engine, kept: Kept, tmp_path: Path
) -> None:
    """The probe itself, hurried."""
    watch = Watch(engine, tmp_path, golden_s=0.05)
    told = watch.told
    try:
        watch.until(
            lambda: told.last("engine.golden_checked") >= _CHECKS,
            lambda: f"{_CHECKS} checks, {told.last('engine.golden_checked')} by now",
            patience_s=_PATIENCE_S,
        )
    finally:
        watch.end()
    distances = [row.value for row in told.values["engine.golden_distance"]]
    kept.golden["model"] = f"two layers, {WIDE} wide, random weights, bf16"
    kept.golden["tolerance_nats"] = GOLDEN.tolerance
    kept.golden["alone"] = {
        "checked": int(told.last("engine.golden_checked")),
        "missed": int(told.last("engine.golden_missed")),
        **spread(distances),
    }
    assert told.last("engine.golden_missed") == 0


def test_beside_load_sums_come_out_otherwise(engine: Engine, kept: Kept) -> None:
    """Why the probe sends a golden prompt to an idle engine only. What is measured is not judged:
    it is another machine's."""
    asker = Asker(
        ReplicaSettings(url=engine.url, engine="e", timeout_s=60),
        SystemClock(),
        body_bytes_max=65_536,
    )
    references = {prompt: said(asker, prompt) for prompt in GOLDEN.prompts}
    for name, clients, prompt, tokens, checks in (
        ("beside_decoding", 6, 16, 160, _CHECKS),
        ("beside_long_prompts", 6, 500, 40, _LONG_CHECKS),
    ):
        load = Clients(engine.url, clients, prompt=prompt, tokens=tokens)
        try:
            kept.golden[name] = compared(asker, references, checks)
        finally:
            assert set(load.end()) == {200}
    assert {prompt: said(asker, prompt) for prompt in GOLDEN.prompts} == references


def said(asker: Asker, prompt: str) -> Said:
    """One answer."""

    async def ask() -> Answer:
        async with open_client() as client:
            return await asker.ask(client, Ask(prompt, GOLDEN.tokens, golden=True))

    answer = asyncio.run(ask())
    assert answer.ok, answer
    return Said(answer.tokens, answer.logprobs)


def compared(asker: Asker, references: dict[str, Said], checks: int) -> dict[str, Any]:
    """What comparing so many answers came to."""
    found = [
        compare(references[prompt], said(asker, prompt), GOLDEN.tolerance)
        for at in range(checks)
        for prompt in [GOLDEN.prompts[at % len(GOLDEN.prompts)]]
    ]
    verdicts = Counter(each.verdict for each in found)
    return {
        "checked": len(found),
        "missed": sum(verdicts[verdict] for verdict in MISSES),
        "other_token": verdicts[Verdict.OTHER_TOKEN],
        **spread([each.distance for each in found if math.isfinite(each.distance)]),
    }


def spread(distances: list[float]) -> dict[str, float]:
    """Quantiles of the distance from the reference, in nats, where all tokens agree."""
    if not distances:
        return {}
    return {
        f"distance_{name}_nats": round(float(np.quantile(distances, rank)), 5)
        for name, rank in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
    }
