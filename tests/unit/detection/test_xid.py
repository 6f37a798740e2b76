"""Xids: policy by table, one finding for two channels, sticky ones at once under the same id."""

import pytest

from detection.rules.tables import XidClass, xid_policy
from fleetmend.model.entities import EntityKind, TopologyChange, TopologyOp, entity_id
from fleetmend.model.events import Witness
from fleetmend.model.findings import FindingState
from tests.unit.detection.play import GPU, NODE, PEER, Life, Play, closed, fleet, names, opened, xid


@pytest.mark.parametrize("code", [13, 31, 43])
def test_application_xids_are_findings_but_never_sticky(code: int) -> None:
    play = Play()
    play.feed()
    event = xid(code, 1.5, witness=Witness.KERNEL_LOG)

    assert xid_policy(code).kind is XidClass.APPLICATION
    assert not xid_policy(code).sticky
    assert play.arrive(event) == []
    (finding,) = play.feed(events=[event])
    assert (finding.reason, names(finding), finding.entity) == (
        "application_xid",
        {f"xid.{code}"},
        GPU,
    )


@pytest.mark.parametrize("code", [46, 48, 62, 64, 74, 79, 95, 109, 119, 120, 140])
def test_xids_that_need_a_reset_or_reboot_are_sticky(code: int) -> None:
    assert xid_policy(code).sticky
    assert xid_policy(code).kind in (XidClass.RESET, XidClass.REBOOT)


def test_a_sticky_xid_is_announced_at_once_and_confirmed_under_the_same_id() -> None:
    play = Play()
    play.feed()
    event = xid(79, 1.5, witness=Witness.KERNEL_LOG)
    (announced,) = play.arrive(event)
    (confirmed,) = play.feed(events=[event])

    assert announced.state is FindingState.PROVISIONAL
    assert (announced.at_s, announced.onset_s) == (1.5, 1.5)
    assert confirmed.state is FindingState.OPEN
    assert confirmed.id == announced.id
    assert confirmed.reason == "sticky_xid"


def test_it_is_confirmed_under_the_same_id_even_when_it_comes_after_its_tick() -> None:
    play = Play()
    for _ in range(4):
        play.feed()
    event = xid(79, 1.5, witness=Witness.KERNEL_LOG)
    (announced,) = play.arrive(event)
    (confirmed,) = play.feed(late=[event])

    assert confirmed.id == announced.id


def test_announcing_changes_nothing_of_the_state() -> None:
    one, other = Play(), Play()
    event = xid(79, 1.5, witness=Witness.KERNEL_LOG)
    for play in (one, other):
        play.feed()
    assert one.arrive(event) == one.arrive(event) != []
    assert one.feed(events=[event]) == other.feed(events=[event])


@pytest.mark.parametrize("witness", [Witness.APPLICATION_LOG, Witness.TELEMETRY])
def test_what_user_space_can_write_is_not_announced(witness: Witness) -> None:
    play = Play()
    play.feed()
    assert play.arrive(xid(79, 1.5, witness=witness)) == []


def test_kernel_and_driver_telling_one_xid_make_one_finding_with_the_kernel_as_witness() -> None:
    play = Play()
    play.feed()
    driver = xid(31, 1.9, witness=Witness.DRIVER_EVENT)
    kernel = xid(31, 2.1, witness=Witness.KERNEL_LOG)
    play.feed(events=[driver])
    play.feed(events=[kernel])

    assert len({finding.id for finding in play.findings}) == 1
    assert opened(play.findings)[-1].witness is Witness.KERNEL_LOG


def test_an_announcement_that_crossed_another_of_the_same_xid_is_taken_back() -> None:
    play = Play()
    play.feed()
    first, second = (
        xid(79, 1.9, witness=Witness.DRIVER_EVENT),
        xid(79, 2.1, witness=Witness.KERNEL_LOG),
    )
    (one,), (two,) = play.arrive(first), play.arrive(second)
    play.feed(events=[first])
    play.feed(events=[second])

    assert one.id != two.id
    assert [finding.id for finding in closed(play.findings)] == [two.id]
    assert play.arrive(xid(79, 3.5, witness=Witness.KERNEL_LOG)) == []


def test_a_line_that_names_only_the_node_waits_for_the_driver_to_name_the_gpu() -> None:
    play = Play(topology=fleet(gpus=(GPU, PEER)))
    play.feed()
    play.feed(events=[xid(79, 1.5, subject=NODE, witness=Witness.KERNEL_LOG)])
    play.feed(events=[xid(79, 2.5, subject=PEER, witness=Witness.DRIVER_EVENT)])
    for _ in range(5):
        play.feed()

    assert {finding.entity for finding in play.findings} == {PEER}


def test_a_line_that_nobody_completes_is_a_finding_of_the_node() -> None:
    play = Play(topology=fleet(gpus=(GPU, PEER)))
    play.feed()
    play.feed(events=[xid(79, 1.5, subject=NODE, witness=Witness.KERNEL_LOG)])
    for _ in range(3):
        play.feed()

    assert [finding.entity for finding in opened(play.findings)] == [NODE]


def test_the_only_gpu_of_a_node_is_the_one_that_is_meant() -> None:
    play = Play()
    play.feed()
    (announced,) = play.arrive(xid(79, 1.5, subject=NODE, witness=Witness.KERNEL_LOG))
    assert announced.entity == GPU


def test_the_gauge_speaks_when_it_changes_and_not_for_what_it_stood_at() -> None:
    life, play = Life(), Play()
    play.run(life, 3, gpu_xid_last=43.0)
    assert not [f for f in play.findings if "xid.43" in names(f)]
    (finding,) = [f for f in play.run(life, 2, gpu_xid_last=31.0) if "xid.31" in names(f)]
    assert finding.witness is Witness.TELEMETRY


def test_an_unknown_xid_is_taken_seriously_and_not_for_sticky() -> None:
    assert (xid_policy(9999).kind, xid_policy(9999).sticky) == (XidClass.HARDWARE, False)


@pytest.mark.parametrize("bad", ["79", 7.9, True, -3])
def test_a_code_that_is_no_number_of_an_xid_is_passed_over(bad: object) -> None:
    play = Play()
    play.feed()
    event = xid(79, 1.5, witness=Witness.KERNEL_LOG)
    event.data["xid"] = bad  # type: ignore[assignment]
    assert play.arrive(event) == []
    assert play.feed(events=[event]) == []


def test_recovery_action_names_what_the_driver_wants() -> None:
    play = Play()
    play.feed()
    nothing, reset = (xid(154, at, witness=Witness.KERNEL_LOG) for at in (1.2, 1.4))
    nothing.data["recovery_action"], reset.data["recovery_action"] = 0, 4

    assert play.arrive(nothing) == []
    (announced,) = play.arrive(reset)
    assert announced.reason == "sticky_xid"


def test_a_gpu_that_has_left_the_fleet_takes_its_rows_along() -> None:
    life, play = Life(), Play()
    play.run(life, 5)
    other = entity_id("c", EntityKind.GPU, "GPU-9")
    play.feed(topology=[TopologyChange(5.5, TopologyOp.ENTITY_GONE, GPU)])
    found = play.feed({(other, "gpu.power"): 100.0, (other, "gpu.xid_last"): 31.0})
    assert found == []
