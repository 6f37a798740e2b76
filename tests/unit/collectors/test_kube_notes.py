"""What components of the cluster report in words: each once, bounded, and about whom."""

from datetime import UTC, datetime

import pytest

from collectors import kube_notes
from collectors.kube_notes import LOOK_BACK_S
from collectors.kube_tell import News
from fleetmend.model.events import Event, EventType
from tests.unit.collectors.kube_world import (
    DEPLOYMENTS,
    EVENTS,
    PODS,
    Json,
    RawFold,
    pod,
    report,
    told,
    workload,
)

NOW_S = datetime(2026, 11, 23, tzinfo=UTC).timestamp()


def knowing(*reports: Json) -> RawFold:
    """A fold that knows an engine, a training pod and a Deployment, and has listed reports."""
    one = RawFold()
    job = pod("job-0", labels={}, namespace="training")
    one.listed(PODS, [pod(), job], NOW_S)
    one.listed(DEPLOYMENTS, [workload()], NOW_S)
    one.listed(EVENTS, reports, NOW_S)
    return one


def reported(news: News) -> list[Event]:
    """The reports in it."""
    return told(news, EventType.CLUSTER_EVENT)


def test_a_report_about_a_node_is_told_in_its_own_words() -> None:
    (event,) = reported(knowing().changed(EVENTS, report(), NOW_S))
    assert (event.subject, event.node) == ("c/node/n1", "n1")
    assert event.data == {
        "reason": "TaskHung",
        "message": "words about n1",
        "type": "Warning",
        "component": "kernel-monitor",
        "object": "Node n1",
        "count": 1,
        "since": "2026-11-23T00:00:00Z",
        "witness": "cluster_api",
    }


def test_a_check_of_nvsentinel_that_is_not_fatal_comes_with_its_name() -> None:
    (event,) = reported(knowing().changed(EVENTS, report(type="GpuThermalWatch"), NOW_S))
    assert event.data["type"] == "GpuThermalWatch"


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        (report(kind="Pod", name="llama-0", namespace="llm", about="uid-llama-0"),
         "c/engine/uid-llama-0"),
        (report(kind="Pod", name="job-0", namespace="training", about="uid-job-0"),
         "c/pod/training/job-0"),
        (report(kind="Deployment", name="llama", namespace="llm"), "c/pool/chat"),
        (report(kind="Pod", name="pending", namespace="llm", about="unheard"), "c/cluster/c"),
        (report(kind="Pod", name="x", namespace="tenant-7", about="unheard"), None),
    ],
)  # fmt: skip
def test_a_report_is_about_whom_we_know(given: Json, subject: str | None) -> None:
    found = [event.subject for event in reported(knowing().changed(EVENTS, given, NOW_S))]
    assert found == ([] if subject is None else [subject])


def test_a_report_is_told_again_only_when_it_happens_again() -> None:
    one = knowing()
    told_of = [
        len(reported(news))
        for news in (
            one.changed(EVENTS, report(count=1), NOW_S),
            one.changed(EVENTS, report(count=1), NOW_S),
            one.changed(EVENTS, report(count=2), NOW_S + 1),
            one.listed(EVENTS, [report(count=2)], NOW_S + 2),
            one.listed(EVENTS, [report(count=5)], NOW_S + 3),
        )
    ]
    assert told_of == [1, 0, 1, 0, 1]


def test_reports_from_before_the_start_are_told_as_far_as_a_restart_goes_back() -> None:
    one = RawFold()
    old = report("Old", since="2026-11-22T23:00:00Z")
    nameless = report("Undated", since="yesterday")
    news = one.listed(EVENTS, [old, nameless, report("New")], NOW_S + LOOK_BACK_S - 1)
    assert [event.data["reason"] for event in reported(news)] == ["New"]
    late = one.changed(EVENTS, report("Late", since="2026-11-22T23:00:00Z"), NOW_S + 1)
    assert len(reported(late)) == 1


def test_a_report_that_came_while_nobody_heard_is_told_after_the_new_list() -> None:
    one = knowing(report("Before"))
    news = one.listed(EVENTS, [report("Before"), report("Meanwhile")], NOW_S + 4000)
    assert [event.data["reason"] for event in reported(news)] == ["Meanwhile"]


def test_a_storm_of_one_reason_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_notes, "_PER_MINUTE_MAX", 3)
    monkeypatch.setattr(kube_notes, "_REASONS_MAX", 2)
    monkeypatch.setattr(kube_notes, "_REPORTS_MAX", 4)
    one = knowing()
    storm = [one.changed(EVENTS, report("A", name=f"n{i}"), NOW_S) for i in range(10)]
    other = one.changed(EVENTS, report("B"), NOW_S)
    many = [one.changed(EVENTS, report(f"C{i}"), NOW_S) for i in range(10)]
    assert sum(len(reported(news)) for news in storm) == 3
    assert len(reported(other)) == 1
    assert sum(len(reported(news)) for news in many) == 3
    assert one.fold.dropped == 14
    assert one.fold.count(EVENTS) == 4


@pytest.mark.parametrize("odd", [{}, {"involvedObject": 5}, {"metadata": []}])
def test_a_report_of_another_shape_breaks_nothing(odd: Json) -> None:
    assert knowing().changed(EVENTS, odd, NOW_S).events == []
    whole = knowing().changed(EVENTS, report() | {"count": "many", "series": []}, NOW_S)
    assert [event.data["count"] for event in reported(whole)] == [1]
