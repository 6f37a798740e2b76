"""Which engine gets which request."""

import numpy as np
import pytest

from fleetmend.settings.simulator import SimulatorSettings
from simulator.layout import build_layout
from simulator.routing import DOWN_AFTER_S, UP_AFTER_S, Router

LAYOUT = build_layout(SimulatorSettings(gpus=128), np.random.default_rng(1))
ENGINES = len(LAYOUT.engine_names)
POOL = np.flatnonzero(LAYOUT.engine_pool == 0)
STAYING = np.zeros(ENGINES, np.bool_)
REQUESTS = np.array([10_000, 10_000, 10_000])


def answering(*dead: int) -> np.ndarray:
    answers = np.ones(ENGINES, np.bool_)
    answers[list(dead)] = False
    return answers


def router() -> Router:
    return Router(LAYOUT, np.random.default_rng(2))


def test_every_request_goes_to_one_engine_of_its_pool() -> None:
    came = router().route(REQUESTS, answers=answering(), leaving=STAYING).came

    assert np.bincount(LAYOUT.engine_pool, came).tolist() == REQUESTS.tolist()
    assert came[POOL] == pytest.approx(10_000 / len(POOL), rel=0.2)


def test_requests_follow_the_weights() -> None:
    route = router()
    route.weight[POOL[0]] = 50
    route.weight[POOL[1]] = 0
    came = route.route(REQUESTS, answers=answering(), leaving=STAYING).came

    assert came[POOL[1]] == 0
    assert came[POOL[0]] == pytest.approx(came[POOL[2:]].mean() / 2, rel=0.2)


def test_a_dead_engine_gets_requests_until_the_router_believes_it() -> None:
    route, dead = router(), int(POOL[0])
    refused = []
    for _ in range(DOWN_AFTER_S + 2):
        assert route.route(REQUESTS, answers=answering(dead), leaving=STAYING).came[dead] == 0
        refused.append(int(route.refused[0]))

    assert refused[0] > 0
    assert refused[DOWN_AFTER_S - 2] > refused[0]
    assert refused[-1] == refused[DOWN_AFTER_S - 1]
    assert not route.healthy[dead]


def test_an_engine_that_answers_again_gets_requests_after_some_good_seconds() -> None:
    route, dead = router(), int(POOL[0])
    for _ in range(DOWN_AFTER_S):
        route.route(REQUESTS, answers=answering(dead), leaving=STAYING)
    came = [
        int(route.route(REQUESTS, answers=answering(), leaving=STAYING).came[dead])
        for _ in range(UP_AFTER_S + DOWN_AFTER_S)
    ]

    assert came[0] == 0
    assert came[-1] > 0


def test_with_nobody_to_serve_them_requests_are_refused_and_counted() -> None:
    route = router()
    route.weight[POOL] = 0
    came = route.route(REQUESTS, answers=answering(), leaving=STAYING).came

    assert not came[POOL].any()
    assert route.refused.tolist() == [10_000, 0, 0]


def test_a_new_pod_starts_at_full_weight_and_unproven() -> None:
    route = router()
    route.weight[POOL[0]] = 0
    route.operation[int(POOL[0])] = "op-1"
    route.forget(int(POOL[0]))

    assert (route.weight[POOL[0]], route.operation[int(POOL[0])]) == (100, "")
    assert not route.healthy[POOL[0]]


def test_a_pod_that_terminates_gets_nothing_new_and_the_others_take_its_share() -> None:
    leaving = STAYING.copy()
    leaving[POOL[0]] = True
    came = router().route(REQUESTS, answers=answering(), leaving=leaving).came

    assert came[POOL[0]] == 0
    assert came[POOL].sum() == 10_000
