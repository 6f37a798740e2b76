"""Which charts an incident wants, and beside whom."""

from fleetmend.charts.wanted import CHARTS_MAX, PEERS_MAX, charted_signals, charted_unit, peers_of
from fleetmend.signals.catalogue import catalogue
from fleetmend.views.topology import TopologyView
from tests.unit.charts.scene import fleet, gpu, incident, piece


def test_the_peers_of_a_gpu_are_the_gpus_of_its_nodes_pool() -> None:
    assert peers_of(gpu(1), fleet(3)) == (gpu(0), gpu(2))


def test_a_large_pool_gives_a_bounded_choice() -> None:
    assert len(peers_of(gpu(0), fleet(200))) == PEERS_MAX


def test_an_entity_without_a_pool_has_no_peers() -> None:
    assert peers_of(gpu(0), TopologyView()) == ()


def test_the_unit_of_a_counters_chart_is_that_of_its_rate() -> None:
    signals = catalogue().signals
    assert charted_unit(signals["engine.generation_tokens"]) == "{token}/s"
    assert charted_unit(signals["gpu.power"]) == "W"


def test_every_signal_is_charted_once_before_any_is_twice() -> None:
    signals = ["gpu.power", "gpu.utilization", "gpu.sm_clock"]
    evidence = [
        piece(signal, gpu(card), score=10.0 - card - number / 10)
        for card in range(3)
        for number, signal in enumerate(signals)
    ]
    shown = charted_signals(incident(*evidence, piece("xid.79", gpu(0), score=99.0)))

    assert len(shown) == CHARTS_MAX
    assert shown[:3] == [(gpu(0), signal) for signal in signals]
    assert (gpu(0), "xid.79") not in shown
