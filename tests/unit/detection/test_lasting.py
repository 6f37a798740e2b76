"""An Xid stands until the GPU was reset, and silence that nobody witnessed is no reset."""

from detection.rules.lasting import BACK_TICKS, GONE_TICKS
from detection.rules.xid import BURST_S, STICKY_S
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.findings import Finding
from tests.unit.detection.play import GPU, NODE, PEER, Life, Play, Rows, closed, fleet, names, xid

SINCE = 8


def heard(life: Life, *, without: tuple[EntityId, ...] = ()) -> Rows:
    """A second in which these were not heard."""
    return {key: value for key, value in life.rows().items() if key[0] not in without}


def struck(code: int = 79) -> tuple[Life, Play]:
    """Two GPUs, one of which has just lost the bus, or has another trouble."""
    gpus = (GPU, PEER)
    life, play = Life(gpus=gpus), Play(topology=fleet(gpus=gpus))
    play.run(life, SINCE)
    play.feed(heard(life), events=[xid(code, SINCE + 0.5, witness=Witness.KERNEL_LOG)])
    return life, play


def ended(play: Play, code: int = 79) -> list[Finding]:
    """Closings of the finding that stood first."""
    first = next(finding for finding in play.findings if f"xid.{code}" in names(finding))
    return [finding for finding in closed(play.findings) if finding.id == first.id]


def test_it_ends_when_the_gpu_was_gone_and_has_come_back() -> None:
    life, play = struck()
    for _ in range(GONE_TICKS):
        play.feed(heard(life, without=(GPU,)))
    play.run(life, BACK_TICKS - 1)
    assert not ended(play)

    play.run(life, 5)

    assert len(ended(play)) == 1
    assert not [f for f in play.run(life, 5) if "xid.79" in names(f)]


def test_it_stands_while_the_gpu_goes_on_speaking() -> None:
    life, play = struck()
    play.run(life, 60)
    assert not ended(play)


def test_it_stands_while_the_gpu_is_gone() -> None:
    life, play = struck()
    for _ in range(30):
        play.feed(heard(life, without=(GPU,)))
    assert not ended(play)


def test_a_silence_of_the_whole_node_is_no_reset() -> None:
    """The collector may have been away, and not the GPU."""
    life, play = struck()
    for _ in range(10):
        play.feed(heard(life, without=(GPU, PEER, NODE)))
    play.run(life, 10)
    assert not ended(play)


def test_a_page_that_was_read_without_the_gpu_is_a_witness() -> None:
    """Where it is the only GPU of its node."""
    life, play = Life(), Play()
    play.run(life, SINCE)
    play.feed(heard(life), events=[xid(79, SINCE + 0.5, witness=Witness.KERNEL_LOG)])
    for _ in range(GONE_TICKS):
        play.feed(heard(life, without=(GPU,)) | {(NODE, "node.gpu_scrape_up"): 1.0})
    play.run(life, BACK_TICKS + 3)
    assert len(ended(play)) == 1


def test_it_stands_again_when_it_is_told_again_while_the_gpu_comes_back() -> None:
    life, play = struck()
    for _ in range(GONE_TICKS):
        play.feed(heard(life, without=(GPU,)))
    play.run(life, BACK_TICKS - 1)
    play.feed(heard(life), events=[xid(79, play.tick + 1.5, witness=Witness.KERNEL_LOG)])
    play.run(life, 10)
    assert not ended(play)


def test_a_boot_of_the_node_ends_it() -> None:
    life, play = struck()
    play.run(life, 3)
    boot = Event(
        "boot-1",
        "collector/kubernetes",
        EventType.CHANGE,
        play.tick + 1.5,
        NODE,
        data={"change": "boot", "what": "b2", "who": ""},
    )
    play.feed(heard(life), events=[boot])
    play.run(life, 4)
    assert len(ended(play)) == 1


def test_it_is_forgotten_after_three_hours_without_a_word() -> None:
    _, play = struck()
    play.feed(skip=int(STICKY_S) - 10)
    assert not ended(play)
    play.feed(skip=20)
    play.feed(skip=5)
    assert len(ended(play)) == 1


def test_a_burst_of_another_xid_ends_after_silence() -> None:
    life, play = struck(154)
    play.run(life, 30)
    assert not ended(play, 154)

    play.feed(skip=int(BURST_S))
    play.run(life, 5)

    assert len(ended(play, 154)) == 1


def test_a_reset_ends_a_burst_too() -> None:
    """What the driver asked for before the node was repaired is done."""
    life, play = struck(154)
    for _ in range(GONE_TICKS):
        play.feed(heard(life, without=(GPU,)))
    play.run(life, BACK_TICKS + 5)
    assert len(ended(play, 154)) == 1


def test_what_stands_outlives_a_restart() -> None:
    life, play = struck()
    for _ in range(GONE_TICKS):
        play.feed(heard(life, without=(GPU,)))
    again = Play(topology=())
    again.findings = list(play.findings)
    again.stage.restore(play.stage.snapshot())
    again.tick = play.tick

    again.run(life, BACK_TICKS + 4)

    assert len(ended(again)) == 1
