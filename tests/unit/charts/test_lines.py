"""The lines of a chart: each sample once, medians of complete seconds, bounded."""

import numpy as np

from fleetmend.charts.lines import PENDING_MAX, OwnLine, PeerLine, Rates
from fleetmend.store import Points
from tests.unit.charts.scene import gpu


def points(*pairs: tuple[float, float]) -> Points:
    return np.array([t for t, _ in pairs]), np.array([v for _, v in pairs])


def told(line: OwnLine | PeerLine, *, last: bool = False) -> list[tuple[float, float]]:
    """What would be written."""
    time_s, value = line.pending(until_s=np.inf, last=last)
    return list(zip(time_s.tolist(), value.tolist(), strict=True))


def test_a_sample_that_comes_twice_is_told_once() -> None:
    line = OwnLine(gpu(0))
    line.take(gpu(0), points((1.0, 10.0), (2.0, 20.0)))
    line.take(gpu(0), points((2.0, 20.0), (3.0, 30.0)))

    assert told(line) == [(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]
    assert told(line) == told(line)  # until the store has it, nothing is forgotten
    line.written()
    line.take(gpu(0), points((3.0, 30.0)))
    assert told(line) == []


def test_nothing_after_the_end_is_told() -> None:
    line = OwnLine(gpu(0))
    line.take(gpu(0), points((1.0, 10.0), (2.0, 20.0)))

    assert line.pending(until_s=1.0, last=True)[0].tolist() == [1.0]


def test_a_counter_is_told_as_its_rate_and_a_reset_says_nothing() -> None:
    line = OwnLine(gpu(0), rates=Rates())
    line.take(gpu(0), points((1.0, 100.0), (2.0, 150.0)))
    line.take(gpu(0), points((2.0, 150.0), (4.0, 250.0), (5.0, 10.0), (6.0, 30.0)))

    assert told(line) == [(2.0, 50.0), (4.0, 50.0), (6.0, 20.0)]


def test_the_rates_of_peers_are_each_their_own() -> None:
    line = PeerLine([gpu(1), gpu(2)], rates=Rates())
    line.take(gpu(1), points((1.0, 1000.0), (2.0, 1010.0)))
    line.take(gpu(2), points((1.0, 5.0), (2.0, 35.0)))

    assert told(line, last=True) == [(2.0, 20.0)]


def test_a_line_that_is_never_written_stays_bounded() -> None:
    own, peers = OwnLine(gpu(0)), PeerLine([gpu(1), gpu(2)])
    for start in range(0, 20_000, 500):
        stretch = np.arange(start, start + 500, dtype=np.float64)
        own.take(gpu(0), (stretch, stretch))
        for peer in (gpu(1), gpu(2)):
            peers.take(peer, (stretch, stretch))

    assert len(told(own)) <= PENDING_MAX
    assert len(told(peers, last=True)) <= PENDING_MAX


def test_the_median_of_peers_waits_for_the_second_to_be_over() -> None:
    line = PeerLine([gpu(1), gpu(2), gpu(3)])
    line.take(gpu(1), points((1.0, 10.0), (2.0, 20.0), (5.0, 50.0)))
    line.take(gpu(2), points((1.4, 30.0), (5.1, 50.0)))
    assert told(line) == [(1.0, 20.0), (2.0, 20.0)]
    line.written()

    line.take(gpu(3), points((5.2, 90.0)))
    assert told(line) == []
    assert told(line, last=True) == [(5.0, 50.0)]


def test_one_peer_with_a_fast_clock_does_not_end_the_second_for_the_others() -> None:
    line = PeerLine([gpu(1), gpu(2), gpu(3)])
    line.take(gpu(1), points((50.0, 1.0)))
    for second in range(1, 6):
        for peer in (gpu(2), gpu(3)):
            line.take(peer, points((float(second), float(second))))
        told(line)

    assert told(line, last=True)[:5] == [(float(s), float(s)) for s in range(1, 6)]
