"""The knowledge files: complete, well-formed, in the common vocabulary; a bad file is named."""

import csv
import re
import shutil
from importlib import resources
from pathlib import Path

import pytest

from collectors.signatures import signatures
from fleetmend.errors import SettingsError
from fleetmend.signals.catalogue import catalogue
from rca.knowledge.load import built_in, knowledge, load_knowledge
from rca.knowledge.model import Match

RECORDED = [
    "engine_memory_leak",
    "operator_degradation",
    "noisy_neighbour",
    "pcie_saturation",
    "long_prompt_flood",
    "request_surge",
    "batch_misconfiguration",
    "host_cpu_starvation",
    "engine_hang",
    "engine_crash",
    "engine_oom_killed",
    "gpu_memory_pressure",
    "gpu_page_fault",
    "kv_cache_pressure",
    "gpu_straggler",
    "nvlink_contention",
    "rank_hang",
    "rank_crash",
]
HARDWARE = [
    "gpu_fallen_off_bus",
    "gpu_ecc_contained",
    "gpu_ecc_uncontained",
    "row_remap_failure",
    "nvlink_down",
    "gsp_timeout",
    "thermal_throttling",
    "power_brake",
    "pcie_degradation",
    "node_not_ready",
    "telemetry_loss",
    "bad_rollout",
]
RUNBOOKS = {
    "gpu-fallen-off-bus",
    "gpu-reset-needed",
    "engine-hang",
    "engine-crash",
    "engine-slow",
    "engine-silent-corruption",
    "gpu-noisy-neighbour",
    "node-not-ready",
    "observe-only",
}
DERIVED = {
    "engine.arrival_rate",
    "engine.admission_rate",
    "engine.prompt_tokens_per_request",
    "engine.decode_rate",
    "gpu.work_per_token",
}
STATES = {
    "telemetry_absent",
    "telemetry_frozen",
    "telemetry_stale",
    "no_progress",
    "queue_without_work",
    "busy_without_work",
    "memory_released",
    "foreign_process",
    "probe_failed",
    "offsets_lost",
}
THROTTLES = {"hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake"}
MATCHES = [m for sign in knowledge().signs.values() for m in sign.matches]


@pytest.mark.parametrize("name", [*RECORDED, *HARDWARE])
def test_every_named_fault_has_a_class(name: str) -> None:
    assert name in knowledge().classes


@pytest.mark.parametrize("match", [m for m in MATCHES if m.direction is not None], ids=str)
def test_every_symptom_is_in_the_vocabulary_of_findings(match: Match) -> None:
    prefix, _, rest = match.name.partition(".")
    if prefix in ("xid", "sxid"):
        assert rest.isdigit()
    elif prefix == "log":
        assert rest in {*(signature.name for signature in signatures()), "golden_mismatch"}
    elif prefix == "throttle":
        assert rest in THROTTLES
    elif prefix != "node_condition":
        assert match.name in STATES | DERIVED or match.name in catalogue().signals


def test_every_reason_is_one_that_detection_gives() -> None:
    page = Path("detection/README.md").read_text("utf-8")
    said = set(re.findall(r"`([a-z_]+)`", page))
    assert {m.name for m in MATCHES if m.direction is None} <= said


def test_xids_of_the_signs_are_known_to_the_policy_of_detection() -> None:
    text = (resources.files("detection") / "data" / "xid_policy.csv").read_text("utf-8")
    known = {row["xid"] for row in csv.DictReader(text.splitlines())}
    assert {m.name[4:] for m in MATCHES if m.name.startswith("xid.")} <= known


def test_classes_name_only_agreed_runbooks() -> None:
    named = {runbook for fault in knowledge().classes.values() for runbook in fault.runbooks}
    assert named <= RUNBOOKS


def test_every_sign_is_used() -> None:
    used = {e.sign for fault in knowledge().classes.values() for e in fault.expected}
    used |= {f.sign for fault in knowledge().classes.values() for f in fault.forbidden}
    assert set(knowledge().signs) - used == set()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the built-in files that a test may spoil."""
    shutil.copytree(str(built_in()), tmp_path / "knowledge")
    return tmp_path / "knowledge"


def spoil(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


HANG = "classes/engine_hang.toml"


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        (HANG, "prior = ", "prior == ", r"engine_hang\.toml: .*line 3"),
        (HANG, "prior = 0.04", "prior = 4.0", r"engine_hang\.toml prior"),
        (HANG, "prior = 0.04", "priority = 0.04", r"engine_hang\.toml prior"),
        (HANG, 'effect = "no_service"', 'effect = "bad"', r"engine_hang\.toml effect"),
        (HANG, '">runs_on"', '">rides_on"', r"engine_hang\.toml spreads"),
        (HANG, "strength = 0.95", "strength = 1.5", r"engine_hang\.toml symptoms\.0\.strength"),
        (HANG, 'sign = "gpu_idle"', 'sign = "gpu_idel"', r"engine_hang\.toml symptoms\.1\.sign"),
        (HANG, 'on = "gpu"', 'on = "gpus"', r"engine_hang\.toml symptoms\.1\.on"),
        (HANG, 'on = "gpu"', 'on = "node"', r"engine_hang\.toml symptoms\.1\.on"),
        (HANG, 'silences = ["self"]', 'silences = ["all"]', r"engine_hang\.toml silences"),
        ("signs.toml", "leak = 0.05", "leak = 5", r"signs\.toml foreign_process\.leak"),
        ("signs.toml", '"foreign_process present"', '"foreign_process"', r"signs\.toml"),
        ("signs.toml", 'opposite = "gpu_idle"', 'opposite = "x"', r"signs\.toml gpu_busy\.oppo"),
    ],
)
def test_a_bad_file_is_named_with_its_line_or_field(
    folder: Path, file: str, old: str, new: str, named: str
) -> None:
    spoil(folder, file, old, new)
    with pytest.raises(SettingsError, match=named):
        load_knowledge(folder)


def test_a_further_class_can_be_added_and_a_built_in_replaced(folder: Path, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    text = (folder / HANG).read_text("utf-8")
    (extra / "engine_hang.toml").write_text(text.replace("prior = 0.04", "prior = 0.5"), "utf-8")
    (extra / "engine_doze.toml").write_text(text, "utf-8")
    known = load_knowledge(folder, extra=extra)
    assert known.classes["engine_hang"].prior == 0.5
    assert "engine_doze" in known.classes


def test_a_class_expects_silence_where_it_silences() -> None:
    crash = knowledge().classes["engine_crash"]
    assert ("silent", "self") in {(e.sign, e.on) for e in crash.expected}


@pytest.mark.parametrize(
    ("file", "text", "where"),
    [
        ("acts.toml", '[eject]\ngpu = ["no_such_sign"]\n', "acts.toml eject"),
        ("acts.toml", '[eject]\nnode = ["gpu_idle"]\n', "acts.toml eject"),
        ("acts.toml", '[explode]\ngpu = ["gpu_idle"]\n', "acts.toml explode"),
    ],
)
def test_what_an_act_shows_must_be_known(tmp_path: Path, file: str, text: str, where: str) -> None:
    folder = tmp_path / "knowledge"
    with resources.as_file(resources.files("rca.knowledge")) as built:
        shutil.copytree(built, folder)
    (folder / file).write_text(text)
    with pytest.raises(SettingsError, match=re.escape(where)):
        load_knowledge(folder)


def test_a_consequence_that_is_no_class_is_refused(tmp_path: Path) -> None:
    with resources.as_file(resources.files("rca.knowledge")) as built:
        text = (built / "classes" / "rank_hang.toml").read_text()
    (tmp_path / "rank_hang.toml").write_text(text.replace('"engine_hang"', '"engine_gone"'))
    with pytest.raises(SettingsError, match=re.escape("rank_hang.toml leads_to")):
        load_knowledge(built_in(), extra=tmp_path)
