"""Rules on numbers: what stands is said, what is normal is not."""

import pytest

from detection.rules.tables import counter_policies, signature_policy
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.findings import Direction
from fleetmend.signals.catalogue import catalogue
from fleetmend.signals.records import Shape
from tests.unit.detection.play import (
    ENGINE,
    GPU,
    NODE,
    Life,
    Play,
    accusing,
    calm,
    closed,
    line,
    names,
    opened,
)


def after(seconds: int, changed: dict[str, float]) -> Play:
    """Calm, then some seconds with changed values."""
    life, play = calm(40)
    play.run(life, seconds, **changed)
    return play


def play_with(seconds: int = 6, /, **changed: float) -> Play:
    """The same, with the values as keywords."""
    return after(seconds, changed)


def test_a_calm_minute_accuses_nobody() -> None:
    assert accusing(play_with(30).findings) == []


def test_a_foreign_process_is_said_after_two_looks_and_over_when_it_has_gone() -> None:
    life, play = calm(5)
    said = [
        opened(
            play.run(life, 1, gpu_processes_foreign=1.0, gpu_memory_foreign=2e9),
            reason="foreign_process",
        )
        for _ in range(2)
    ]
    assert [len(found) for found in said] == [0, 1]
    assert names(said[1][0]) == {"foreign_process", "gpu.memory_foreign"}
    assert [f.reason for f in closed(play.run(life, 12))] == ["foreign_process"]


def test_a_tool_that_looks_at_the_card_for_a_moment_is_no_neighbour() -> None:
    life, play = Life(), Play()
    for _ in range(10):
        play.run(life, 1, gpu_processes_foreign=1.0)
        play.run(life, 3)
    assert accusing(play.findings) == []


def test_the_power_cap_is_never_a_finding_and_heat_is() -> None:
    assert not opened(play_with(gpu_clock_event_reasons=4.0).findings, reason="throttled")
    (hot,) = opened(play_with(gpu_clock_event_reasons=4.0 + 0x40).findings, reason="throttled")
    assert names(hot) == {"throttle.hw_thermal"}


@pytest.mark.parametrize(
    ("mask", "name"), [(0x8, "hw_slowdown"), (0x20, "sw_thermal"), (0x80, "hw_power_brake")]
)
def test_every_bad_reason_has_its_own_symptom(mask: int, name: str) -> None:
    (found,) = opened(play_with(gpu_clock_event_reasons=float(mask)).findings, reason="throttled")
    assert names(found) == {f"throttle.{name}"}


def test_a_frame_buffer_that_is_full_on_purpose_is_no_finding_and_one_that_fills_up_is() -> None:
    life, play = Life(), Play()
    play.run(life, 40, gpu_memory_used=148e9, gpu_memory_free=2e9)
    assert not opened(play.findings, reason="memory_full")
    full = play_with(gpu_memory_used=149.7e9, gpu_memory_free=0.3e9)
    (finding,) = opened(full.findings, reason="memory_full")
    assert ("gpu.memory_free", Direction.DOWN) in {(s.name, s.direction) for s in finding.symptoms}


@pytest.mark.parametrize(("rate", "expected"), [(4e9, 0), (3e10, 1)])
def test_a_link_is_saturated_near_its_limit_only(rate: float, expected: int) -> None:
    play = play_with(gpu_pcie_rx=rate, gpu_pcie_link_gen=5.0)
    assert len(opened(play.findings, reason="link_saturated")) == expected


def test_a_link_that_always_carries_much_is_not_taken_from_anybody() -> None:
    life, play = Life(), Play()
    play.run(life, 60, gpu_pcie_rx=3e10)
    before = len(opened(play.findings, reason="link_saturated"))
    play.run(life, 60, gpu_pcie_rx=3.3e10)
    assert len(opened(play.findings, reason="link_saturated")) == before


def test_a_narrow_link_matters_while_the_gpu_works_and_not_while_it_sleeps() -> None:
    narrow = {"gpu_pcie_link_width": 8.0, "gpu_pcie_link_width_max": 16.0}
    (found,) = opened(after(15, narrow).findings, reason="link_degraded")
    assert names(found) == {"gpu.pcie_link_width"}
    asleep = after(15, {"gpu_utilization": 0.0, **narrow})
    assert not opened(asleep.findings, reason="link_degraded")


def test_what_the_driver_asks_for_is_said_at_once() -> None:
    (found,) = opened(play_with(1, gpu_recovery_action=2.0).findings, reason="recovery_action")
    assert found.confidence >= 0.95


def test_rows_that_wait_for_a_reset_are_said() -> None:
    (found,) = opened(play_with(3, gpu_row_remap_pending=1.0).findings, reason="memory_repair")
    assert names(found) == {"gpu.row_remap_pending"}


def test_a_gpu_close_to_its_slowdown_is_hot() -> None:
    assert opened(
        play_with(gpu_temperature=88.0, gpu_temperature_slowdown=90.0).findings, reason="hot"
    )
    assert not opened(
        play_with(gpu_temperature=70.0, gpu_temperature_slowdown=90.0).findings, reason="hot"
    )


def test_kv_pressure_needs_more_than_a_full_cache() -> None:
    assert not opened(play_with(engine_kv_usage=0.99).findings, reason="kv_pressure")
    waits = play_with(engine_kv_usage=0.99, engine_requests_waiting=5.0)
    assert opened(waits.findings, reason="kv_pressure")


def test_preemptions_with_a_high_cache_are_kv_pressure() -> None:
    life, play = Life(), Play()
    for count in range(10):
        play.run(life, 1, engine_kv_usage=0.85, engine_preemptions=float(count * 3))
    (found,) = opened(play.findings, reason="kv_pressure")
    assert {"engine.kv_usage", "engine.preemptions"} <= names(found)


def test_slow_first_tokens_are_harm_even_if_they_were_so_from_the_start() -> None:
    life, play = Life(), Play()
    play.run(life, 5, engine_ttft_p50=4.0)
    assert opened(play.findings, reason="slow_first_token")


@pytest.mark.parametrize(("status", "expected"), [(200.0, 0), (404.0, 0), (503.0, 1), (0.0, 1)])
def test_a_health_request_fails_by_its_status(status: float, expected: int) -> None:
    play = play_with(3, engine_probe_status=status)
    found = opened(play.findings, reason="probe_failed")
    assert len(found) == expected
    assert all(finding.witness is Witness.PROBE for finding in found)


def test_what_a_counter_stood_at_is_history_and_its_growth_is_not() -> None:
    life, play = calm(10, gpu_ecc_dbe=7.0)
    assert not opened(play.findings, reason="counter_rose")
    play.run(life, 1, gpu_ecc_dbe=8.0)
    (found,) = opened(play.findings, reason="counter_rose")
    assert names(found) == {"gpu.ecc_dbe"}


def test_single_corrected_errors_are_normal_and_a_burst_is_not() -> None:
    life, play = Life(), Play()
    for count in range(100):
        play.run(life, 1, gpu_ecc_sbe=float(count // 20))
    assert not opened(play.findings, reason="counter_rose")
    for count in range(3):
        play.run(life, 1, gpu_ecc_sbe=100.0 + 20 * count)
    assert opened(play.findings, reason="counter_rose")


def test_every_watched_counter_is_a_counter_of_the_catalogue() -> None:
    for policy in counter_policies():
        assert catalogue().signal(policy.signal).shape is Shape.COUNTER, policy.signal


def test_a_log_line_is_a_finding_with_its_text_cut() -> None:
    play = Play()
    play.feed()
    event = line("nccl_timeout", 1.5)
    event.data["line"] = "x" * 4000
    (found,) = play.feed(events=[event])
    assert (found.reason, names(found)) == ("log_signature", {"log.nccl_timeout"})
    assert len(found.detail) <= 200


def test_golden_prompts_that_missed_are_the_probes_word_and_weigh_much() -> None:
    play = Play()
    play.feed()
    event = line("golden_mismatch", 1.5)
    event.data["witness"] = Witness.PROBE.value
    (found,) = play.feed(events=[event])
    assert (found.witness, names(found)) == (Witness.PROBE, {"log.golden_mismatch"})
    assert found.confidence >= 0.9


def test_an_unknown_signature_is_heard_with_little_weight() -> None:
    assert signature_policy("never seen").confidence <= 0.3


def condition(name: str, status: str, at_s: float) -> Event:
    data: dict[str, str | int | float | bool] = {"condition": name, "status": status, "reason": "r"}
    return Event(f"{name}{at_s}", "api", EventType.NODE_CONDITION, at_s, NODE, data=data)


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("Ready", "False", "True"),
        ("AcceleratedHardwareReady", "Unknown", "True"),
        ("EtcdIsVoter", "False", "True"),
        ("MemoryPressure", "True", "False"),
        ("NetworkUnavailable", "True", "False"),
        ("GpuNotReady", "True", "False"),
        ("ReadonlyFilesystem", "True", "False"),
        ("FrequentKubeletRestart", "True", "Unknown"),
        ("GpuXidError", "True", "False"),
    ],
)
def test_a_bad_condition_stands_until_it_is_good_again(name: str, bad: str, good: str) -> None:
    play = Play()
    play.feed()
    play.feed(events=[condition(name, bad, 1.5)])
    for _ in range(20):
        play.feed()
    assert [names(f) for f in opened(play.findings)] == [{f"node_condition.{name}"}]
    assert closed(play.findings) == []
    play.feed(events=[condition(name, good, 21.5)])
    for _ in range(8):
        play.feed()
    assert len(closed(play.findings)) == 1


def test_a_fatal_sxid_weighs_more_than_a_harmless_one() -> None:
    switch = entity_id("c", EntityKind.SWITCH, "node-0/nvswitch0")
    play = Play()
    play.feed()
    events = [
        Event(
            str(code),
            "k",
            EventType.SXID,
            1.5,
            switch,
            data={"sxid": code, "witness": "kernel_log"},
        )
        for code in (20034, 11012)
    ]
    fatal, harmless = sorted(play.feed(events=events), key=lambda f: -f.confidence)
    assert (fatal.reason, names(fatal)) == ("fatal_sxid", {"sxid.20034"})
    assert harmless.confidence <= 0.4


def test_a_failed_probe_event_is_a_finding_of_what_it_asked() -> None:
    play = Play()
    play.feed()
    probe = Event("p", "probe", EventType.PROBE, 1.5, ENGINE, data={"ok": False, "what": "canary"})
    (found,) = play.feed(events=[probe])
    assert (found.entity, found.reason, found.witness) == (ENGINE, "probe_failed", Witness.PROBE)


def test_a_second_copy_of_an_event_is_not_a_second_event() -> None:
    once, twice = Play(), Play()
    for play, copies in ((once, 1), (twice, 2)):
        play.feed()
        play.feed(events=[line("nccl_timeout", 1.5)] * copies)
        play.feed(events=[line("nccl_timeout", 1.5)] * (copies - 1))
    assert [f.id for f in once.findings] == [f.id for f in twice.findings]


def test_a_symptom_carries_what_was_expected_and_in_which_unit() -> None:
    play = play_with(gpu_pcie_rx=3e10, gpu_pcie_link_gen=5.0)
    (finding,) = opened(play.findings, reason="link_saturated")
    (symptom,) = [s for s in finding.symptoms if s.name == "gpu.pcie_rx"]
    assert symptom.unit == "By/s"
    assert symptom.observed == pytest.approx(3e10)
    assert symptom.expected_high is not None
    assert symptom.expected_high < 1e9
    assert finding.entity == GPU
