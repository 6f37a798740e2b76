"""Log lines become events only by the catalogue, and say no more than their channel allows."""

import csv
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.kernel_lines import parse_kernel_line
from collectors.logs import LogEvents, LogLine
from collectors.signatures import LINE_MAX, Channel, Signature, match_line, signatures
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.events import EventType, Witness

LINES = Path(__file__).parents[2] / "data" / "names" / "log_lines.csv"
GPU = entity_id("c", EntityKind.GPU, "GPU-1")
ENGINE = entity_id("c", EntityKind.ENGINE, "e")
XID = "NVRM: Xid (PCI:0000:00:06): 31, pid=1052, name=oob, channel 0x0000001e"


def resolve(alias: str) -> EntityId | None:
    """Node n has one GPU."""
    return GPU if alias == "n/pci:0000:00:06" else None


def log_line(
    text: str, *, channel: Channel = Channel.KERNEL, at_s: float = 1.0, identity: str = ""
) -> LogLine:
    """A line of node n."""
    witness = Witness.KERNEL_LOG if channel is Channel.KERNEL else Witness.APPLICATION_LOG
    engine = ENGINE if channel is Channel.ENGINE else None
    return LogLine(at_s, "n", channel, text, witness, engine, identity)


@pytest.mark.parametrize("signature", signatures(), ids=lambda s: s.name)
def test_every_pattern_fits_its_own_example(signature: Signature) -> None:
    assert signature.hint in signature.example
    assert signature.pattern.search(signature.example)


def test_the_lines_of_the_public_catalogues_are_known_for_what_they_are() -> None:
    """Left out on purpose: an Xid 79 spread over three records (its one-line form comes with it),
    Fabric Manager's own file, vLLM's statistics, and Kubernetes' words."""
    left_out = 0
    with LINES.open(newline="") as file:
        for row in csv.DictReader(file):
            channel = Channel.KERNEL if row["channel"] == "kmsg" else Channel.ENGINE
            match = match_line(row["line"], channel)
            wanted = row["signatures"].split(" ")[0] if row["signatures"] else None
            assert (match.name if match else None) == wanted, row["line"]
            left_out += wanted is None
    assert left_out == 4


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (XID, {"pci": "0000:00:06", "xid": 31, "pid": 1052, "process": "oob"}),
        (
            "NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off",
            {"pci": "0000:05:00", "xid": 79},
        ),
        (
            "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained",
            {"pci": "0000:01:00", "xid": 94, "pid": 7194, "gpu_instance": 5},
        ),
        (
            "NVRM: Xid (PCI:0009:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x4"
            " (Drain and Reset)",
            {
                "pci": "0009:01:00",
                "xid": 154,
                "recovery_action": 4,
                "recovery": "Drain and Reset",
            },
        ),
        (
            "NVRM: Xid (PCI:0018:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6"
            " 0x00000000 0x0)",
            {
                "pci": "0018:01:00",
                "xid": 149,
                "unit": "NETIR_LINK_EVT",
                "severity": "Fatal",
                "link": 8,
                "intrinfo": "0x004505c6",
                "errorstatus": "0x00000000",
            },
        ),
    ],
)
def test_an_xid_line_gives_every_field_that_it_holds(
    line: str, fields: dict[str, str | int]
) -> None:
    match = match_line(line, Channel.KERNEL)
    assert match is not None
    assert match.fields == fields


def test_an_xid_is_about_the_gpu_at_its_address_and_about_the_node_when_nobody_knows_it() -> None:
    events = LogEvents(cluster="c", resolve=resolve)
    known = events.event(log_line(XID))
    other = events.event(log_line(XID.replace("00:06", "00:07")))
    assert known is not None
    assert other is not None
    assert (known.type, known.subject, known.node) == (EventType.XID, GPU, "n")
    assert other.subject == entity_id("c", EntityKind.NODE, "n")
    assert known.data["witness"] == "kernel_log"


def test_the_tracepoints_address_and_the_kernel_logs_address_are_one() -> None:
    event = LogEvents(cluster="c", resolve=resolve).event(
        log_line(XID.replace("00:06)", "00:06.0)"))
    )
    assert event is not None
    assert (event.subject, event.data["pci"]) == (GPU, "0000:00:06")


def test_the_same_line_read_twice_is_one_event() -> None:
    events = LogEvents(cluster="c", resolve=resolve)
    assert events.event(log_line(XID)) is not None
    assert events.event(log_line(XID)) is None
    again = LogEvents(cluster="c", resolve=resolve).event(log_line(XID))
    first = LogEvents(cluster="c", resolve=resolve).event(log_line(XID))
    assert again == first  # a restart of the collector sends the same id


def test_the_same_words_at_another_moment_or_under_another_number_are_another_event() -> None:
    events = LogEvents(cluster="c", resolve=resolve)
    lines = [log_line(XID, at_s=at) for at in (1.0, 2.0)]
    lines += [log_line(XID, identity=str(number)) for number in (7, 8)]
    ids = {event.id for line in lines if (event := events.event(line)) is not None}
    assert len(ids) == 4


def test_an_engines_line_is_about_the_engine_and_never_a_kernel_matter() -> None:
    """Whoever prints an Xid line to an engine's log is not the driver."""
    events = LogEvents(cluster="c", resolve=resolve)
    dead = events.event(
        log_line("EngineDeadError: EngineCore encountered an issue.", channel=Channel.ENGINE)
    )
    assert dead is not None
    assert (dead.type, dead.subject) == (EventType.LOG_SIGNATURE, ENGINE)
    assert dead.data["signature"] == "engine_dead"
    assert events.event(log_line(XID, channel=Channel.ENGINE)) is None


def test_an_sxid_is_about_the_switch() -> None:
    line = "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress"
    event = LogEvents(cluster="c", resolve=resolve).event(log_line(line))
    assert event is not None
    assert (event.type, event.subject) == (EventType.SXID, "c/switch/n/nvswitch3")
    assert (event.data["sxid"], event.data["severity"], event.data["link"]) == (
        12028,
        "Non-fatal",
        32,
    )


def test_a_line_is_cut_before_it_travels() -> None:
    event = LogEvents(cluster="c", resolve=resolve).event(log_line(XID + "x" * 9000))
    assert event is not None
    assert len(str(event.data["line"])) == LINE_MAX


@pytest.mark.parametrize(
    ("line", "witness", "text"),
    [
        ("4,123,5678901,-;" + XID, Witness.KERNEL_LOG, XID),
        ("12,124,5678901,-;" + XID, Witness.APPLICATION_LOG, XID),  # facility user: forged
        ("4,1,2,c,caller=T1946;" + XID + "\n SUBSYSTEM=pci", Witness.KERNEL_LOG, XID),
        ("kern  :warn  : [    5.678901] " + XID, Witness.KERNEL_LOG, XID),
        ("user  :warn  : [    5.678901] " + XID, Witness.APPLICATION_LOG, XID),
        ("[    5.678901] " + XID, Witness.PEER, XID),
        (XID, Witness.PEER, XID),
        (
            "[    5.678901] kern  :warn  : " + XID,
            Witness.PEER,
            "kern  :warn  : " + XID,
        ),  # the claim is part of the text, so it is none
    ],
)
def test_only_facility_0_makes_a_kernel_witness(line: str, witness: Witness, text: str) -> None:
    kernel = parse_kernel_line(line)
    assert kernel.witness(untold=Witness.PEER) is witness
    assert kernel.text == text


def test_the_time_of_a_record_is_in_seconds_since_boot() -> None:
    assert parse_kernel_line("4,123,5678901,-;x").since_boot_s == pytest.approx(5.678901)
    assert parse_kernel_line("[    5.678901] x").since_boot_s == pytest.approx(5.678901)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300), st.sampled_from(list(Channel)))
def test_no_text_breaks_the_reader(text: str, channel: Channel) -> None:
    LogEvents(cluster="c", resolve=resolve).event(log_line(text, channel=channel))
    parse_kernel_line(text)


@pytest.mark.parametrize("signature", signatures(), ids=lambda s: s.name)
def test_a_hostile_line_costs_no_more_than_a_moment(signature: Signature) -> None:
    """Each pattern is searched in long repetitions of pieces of its own example. CPU time, and far
    above what it takes: only a pattern that backtracks without end comes near."""
    for size in (3, 11, len(signature.example)):
        piece = signature.example[:size]
        line = signature.hint + piece * (20_000 // max(1, len(piece)))
        begin = time.process_time()
        match_line(line, signature.channel)
        assert time.process_time() - begin < 2.0
