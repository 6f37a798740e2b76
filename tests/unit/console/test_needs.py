"""The queue holds whatever fleetmend will not do, and the pages say when capacity comes back."""

import re
from dataclasses import replace

import pytest

from console.present.needs import WHY
from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import IncidentStatus, Severity
from fleetmend.model.plans import SessionState, StepRecord, StepState
from remediation.plan import CALM_S
from remediation.proposals import plan_id
from remediation.service import Need
from tests.unit.console.builder import MADE, NOW_S, incident, node, plan
from tests.unit.console.client import Bench

INCIDENT = "inc-back"


def text(html: str) -> str:
    """Words as a reader has them, without marks."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def queue(house: Bench) -> str:
    found = re.search(
        r'<section class="card[^"]*" id="waits".*?</section>', page(house, "/actions"), re.S
    )
    assert found
    return found[0]


def page(house: Bench, path: str) -> str:
    answer = house.client.get(path)
    assert answer.status_code == 200
    return str(answer.text)


def taken(house: Bench, *, state: SessionState, reason: str = "", back: bool = False) -> str:
    """A resolved incident whose session cordoned node-9 and drained half of it; its session."""
    with house.store.transaction() as tx:
        tx.incidents.put(
            incident(
                INCIDENT,
                status=IncidentStatus.RESOLVED,
                opened_at_s=NOW_S - 200,
                length_s=180,
                severity=Severity.P0,
                severity_reason="1 of 3 engines is down",
            )
        )
        made = plan(plan_id(INCIDENT), INCIDENT, number=9)
        calm = replace(made.give_back[0], parameters={CALM_S: "120"})
        tx.plans.put(replace(made, give_back=(calm,)))
        session = tx.sessions.open(made, state=SessionState.PROPOSED, at_s=NOW_S - 190)
        session = tx.sessions.claim("r-0", now_s=NOW_S - 189, lease_s=1e6) or session
        session = tx.sessions.step(session, StepRecord(0, StepState.DONE, NOW_S - 180, 1))
        half = StepRecord(1, StepState.INTERRUPTED, NOW_S - 170, 1, parts=9, parts_left=4)
        session = tx.sessions.step(session, half)
        if back:
            record = StepRecord(0, StepState.DONE, NOW_S - 5, 1)
            session = tx.sessions.step(session, record, giving_back=True)
        tx.sessions.advance(session, state=state, reason=reason, at_s=NOW_S - 4)
        return session.id


def test_every_need_has_its_words() -> None:
    assert set(WHY) == set(Need)


class TestQueue:
    def test_what_fleetmend_may_not_or_cannot_do_is_in_the_queue(self, filled: Bench) -> None:
        words = text(queue(filled))
        assert "fleetmend may only advise here" in words
        assert "No runbook answers it" in words
        assert "Nothing waits for you" not in words
        # The worst is first, and what is at work by itself is not there.
        assert words.index("P1") < words.index("P2")
        assert f"/incidents/{MADE.hung}" not in queue(filled)

    def test_its_length_is_what_the_rail_and_the_fleet_page_count(self, filled: Bench) -> None:
        count = queue(filled).count('class="aw"')
        assert count >= 3
        assert f'{count}<span class="sr"> waiting' in page(filled, "/incidents")
        assert len(filled.client.get("/api/v1/waits").json()) == count

    def test_an_incident_that_somebody_undid_can_be_planned_again(self, fresh: Bench) -> None:
        with fresh.store.reading() as tx:
            [session] = tx.sessions.for_incident(MADE.leak)
        fresh.decisions.undo(session.id, "Ana")
        fresh.login()

        html = page(fresh, f"/incidents/{MADE.leak}")
        assert "A person undid the repair, and the incident goes on" in text(html)
        assert f'action="/incidents/{MADE.leak}/renew"' in html
        answer = fresh.client.post(
            f"/incidents/{MADE.leak}/renew", headers={"origin": "http://127.0.0.1"}
        )

        assert answer.headers["location"] == f"/incidents/{MADE.leak}?said=renewed#plan"
        with fresh.store.reading() as tx:
            renewed = tx.plans.get(plan_id(MADE.leak))
            verbs = [record.verb for record in tx.audit.about(MADE.leak)]
        assert renewed is not None
        assert (renewed.version, renewed.renewed_by) == (2, "Ana")
        assert AuditVerb.PLAN_RENEWED in verbs

    def test_what_needs_no_new_plan_is_refused_one(self, fresh: Bench) -> None:
        fresh.login()
        answer = fresh.client.post(
            f"/api/v1/incidents/{MADE.hung}/renew", json={}, headers={"origin": "http://127.0.0.1"}
        )
        assert answer.status_code == 409

    def test_nobody_plans_again_without_a_login(self, fresh: Bench) -> None:
        answer = fresh.client.post(
            f"/api/v1/incidents/{MADE.leak}/renew", json={}, headers={"origin": "http://127.0.0.1"}
        )
        assert answer.status_code == 401


class TestAfterwards:
    def test_a_resolved_incident_says_when_its_node_comes_back(self, fresh: Bench) -> None:
        taken(fresh, state=SessionState.WAITING, reason="capacity_short")
        for path in (f"/incidents/{INCIDENT}", "/incidents?status=resolved"):
            words = text(page(fresh, path))
            assert "node-9 and 1 more come back in 1m 40s" in words
            assert "Held:" not in words

    def test_a_repair_that_was_undone_is_told_to_its_end(self, fresh: Bench) -> None:
        session = taken(fresh, state=SessionState.CANCELLED, reason="undone", back=True)
        with fresh.store.transaction() as tx:
            tx.audit.append(
                at_s=NOW_S - 60,
                actor="Ben",
                verb=AuditVerb.SESSION_CHANGED,
                subject=session,
                detail={"state": "giving_back", "reason": "undone", "why": "wrong node"},
            )
        words = text(page(fresh, f"/incidents/{INCIDENT}"))
        assert "Draining node-9 was interrupted with 4 of 9 left at" in words
        assert "Ben undid the repair at" in words
        assert "fleetmend uncordoned node-9 at" in words
        assert "Undone by a person, capacity given back" in words
        assert "begun, interrupted" in words
        assert "not admitted" not in words.split("Timeline")[0]

    def test_how_bad_it_was_is_said_in_the_past_once_it_is_over(self, fresh: Bench) -> None:
        taken(fresh, state=SessionState.DONE, back=True)
        words = text(page(fresh, f"/incidents/{INCIDENT}"))
        assert "How bad it was P0 critical before it ended: 1 of 3 engines is down" in words

    @pytest.mark.parametrize(
        ("back", "said"), [(True, "Done, capacity given back"), (False, "Done")]
    )
    def test_giving_back_is_said_only_where_something_was_given_back(
        self, fresh: Bench, back: bool, said: str
    ) -> None:
        taken(fresh, state=SessionState.DONE, back=back)
        html = page(fresh, f"/incidents/{INCIDENT}")
        chips = re.findall(r'<span class="chip c-ok">(?:<svg.*?</svg>)?([^<]*)</span>', html, re.S)
        assert said in {chip.strip() for chip in chips}


def test_the_entities_of_a_row_are_named_by_the_plan(filled: Bench) -> None:
    rows = {row["incident"]: row for row in filled.client.get("/api/v1/waits").json()}
    assert rows[MADE.hot]["decide"]
    assert node(7).rpartition("/")[2] in rows[MADE.hot]["what"]


def test_who_approves_sees_what_stands_there_and_what_the_pool_keeps(filled: Bench) -> None:
    dialog = page(filled, f"/incidents/{MADE.hot}").partition('id="dlg-approve"')[2]
    words = text(dialog.partition("</dialog>")[0])
    assert "Stands there 8 GPUs and 0 engines on node-7" in words
    assert "Afterwards pool chat-h200 keeps 184 of 192 GPUs on nodes in service (96%)" in words
