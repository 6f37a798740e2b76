"""The fleet before anything moves."""

import numpy as np
import pytest

from fleetmend.errors import SettingsError
from fleetmend.settings.simulator import SimulatedPool, SimulatorSettings
from simulator.layout import GPUS_PER_NODE, Layout, build_layout


def layout(**changes: object) -> Layout:
    return build_layout(SimulatorSettings.model_validate(changes), np.random.default_rng(1))


def test_the_default_fleet_has_a_thousand_gpus_in_racks_of_eight_nodes() -> None:
    fleet = layout()

    assert (len(fleet.gpu_ids), len(fleet.nodes), len(fleet.zone_ids)) == (1000, 125, 3)
    assert np.bincount(fleet.node_rack).tolist() == [8] * 15 + [5]
    assert len(set(fleet.gpu_ids)) == 1000


def test_nodes_are_dealt_to_pools_by_share_and_interleaved() -> None:
    fleet = layout()
    shares = np.bincount(fleet.node_pool) / len(fleet.nodes)

    assert shares == pytest.approx([0.36, 0.36, 0.28], abs=0.01)
    for rack in range(15):
        assert set(fleet.node_pool[fleet.node_rack == rack]) == {0, 1, 2}


def test_no_two_engines_share_a_gpu_and_every_pool_keeps_an_empty_node() -> None:
    fleet = layout(gpus=160)
    taken = np.concatenate([fleet.gpus_of(n, g) for n, g in fleet.engine_home.tolist()])

    assert len(taken) == len(set(taken.tolist()))
    for pool in range(3):
        nodes = set(np.flatnonzero(fleet.node_pool == pool).tolist())
        assert nodes - set(fleet.engine_home[:, 0].tolist())


def test_an_engine_lies_in_one_aligned_group_of_its_node() -> None:
    fleet = layout(gpus=64)
    for (node, group), pool in zip(fleet.engine_home.tolist(), fleet.engine_pool, strict=True):
        gpus = fleet.gpus_of(node, group)
        width = fleet.pools[pool].tensor_parallel
        assert len(gpus) == width
        assert set(gpus // GPUS_PER_NODE) == {node}
        assert gpus[0] % width == 0


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"gpus": 1001}, "multiple of 8"),
        ({"gpus": 16}, "pools"),
    ],
)
def test_a_fleet_that_does_not_fit_is_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        layout(**changes)


def test_one_pool_on_one_node_is_a_fleet() -> None:
    pool = SimulatedPool(name="only", model="m", tensor_parallel=1, share=1.0)

    assert len(layout(gpus=8, pools=(pool,)).engine_names) == 8
