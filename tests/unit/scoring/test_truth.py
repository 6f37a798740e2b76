"""Labels and names are read strictly: a bad line is named."""

import json

import pytest

from fleetmend.errors import BadInput
from fleetmend.scoring.records import Label
from fleetmend.scoring.truth import parse_labels, parse_meta

LINE = {"cause": "engine_hang", "entity": "engine-0", "start": 20.0, "end": 30.0, "injected": "x"}


def test_labels_come_in_order_of_start() -> None:
    lines = [json.dumps(LINE), "", json.dumps(LINE | {"start": 10.0, "benign": True})]
    assert parse_labels(lines, where="labels.jsonl") == (
        Label("engine_hang", "engine-0", 10.0, 30.0, benign=True),
        Label("engine_hang", "engine-0", 20.0, 30.0),
    )


@pytest.mark.parametrize("bad", ["{", "{}", json.dumps(LINE | {"start": "soon"})])
def test_a_bad_label_names_its_line(bad: str) -> None:
    with pytest.raises(BadInput, match=r"labels\.jsonl line 2"):
        parse_labels([json.dumps(LINE), bad], where="labels.jsonl")


def test_the_bare_index_names_a_gpu_only_where_one_host_has_it() -> None:
    hosts = [
        {"name": f"node-{n}", "gpus": [{"index": i, "uuid": f"GPU-{n}{i}"} for i in range(2 - n)]}
        for n in range(2)
    ]
    meta = {"start": 1.0, "end": 2.0, "hosts": hosts, "links": [{"ends": ["GPU-00", "GPU-01"]}]}
    span_s, names = parse_meta(json.dumps(meta), where="meta.json")
    assert span_s == (1.0, 2.0)
    assert names.one("GPU-01") == names.one("gpu:1") == names.one("node-0/gpu:1")
    assert names.one("gpu:0") == "gpu:0"
    assert names.links == (("GPU-00", "GPU-01"),)


def test_a_bad_meta_file_is_named() -> None:
    with pytest.raises(BadInput, match=r"meta\.json"):
        parse_meta("{}", where="meta.json")
