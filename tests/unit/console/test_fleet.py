"""The map, the figures above it, faults on purpose, the console's own health."""

from console.present.fleet import DEGRADED, FAULTY, HEALTHY, OUT, pools
from fleetmend.model.incidents import IncidentStatus
from tests.unit.console.builder import MADE, gpu, incident, node
from tests.unit.console.client import TOKEN, Bench
from tests.unit.console.fakes import FakeFaults, FakeFleet

BEARER = {"authorization": f"Bearer {TOKEN}"}


def states(**kwargs: object) -> dict[str, int]:
    """State of every GPU of a small fleet by its id."""
    fleet = FakeFleet((("chat", 2),))
    blocks = pools(fleet.now(), kwargs.get("open_", ()), kwargs.get("held", frozenset()))  # type: ignore[arg-type]
    return {cell.id: cell.state for b in blocks for n in b.nodes for cell in n.gpus}


def test_a_quiet_fleet_is_healthy() -> None:
    assert set(states().values()) == {HEALTHY}


def test_the_cause_is_red_and_what_it_touches_amber() -> None:
    found = states(open_=[incident(entity=gpu(1, 3), affected=(gpu(1, 4), node(2)))])
    assert found[gpu(1, 3)] == FAULTY
    assert found[gpu(1, 4)] == DEGRADED
    assert {found[gpu(2, i)] for i in range(8)} == {DEGRADED}
    assert found[gpu(1, 0)] == HEALTHY


def test_a_mitigated_cause_is_amber() -> None:
    found = states(open_=[incident(entity=gpu(1, 3), status=IncidentStatus.MITIGATED)])
    assert found[gpu(1, 3)] == DEGRADED


def test_a_node_that_is_out_is_grey_but_for_its_fault() -> None:
    found = states(open_=[incident(entity=gpu(1, 3))], held=frozenset({node(1)}))
    assert found[gpu(1, 3)] == FAULTY
    assert {found[gpu(1, i)] for i in range(8) if i != 3} == {OUT}


def test_the_map_is_served_with_states_incidents_and_load(filled: Bench) -> None:
    answer = filled.client.get("/api/v1/fleet").json()
    assert answer["states"] == ["healthy", "degraded", "faulty", "out"]
    chat = next(pool for pool in answer["pools"] if pool["name"] == "chat-h200")
    seven = next(n for n in chat["nodes"] if n["name"] == "node-7")
    assert seven["out"]
    assert seven["gpus"][1][1] == FAULTY
    assert seven["gpus"][1][3] == MADE.hot
    assert 0 <= seven["gpus"][0][2] <= 1


def test_the_strip_shows_only_what_is_measured(filled: Bench, empty: Bench) -> None:
    full = filled.client.get("/fleet").text
    assert "Time to resolve, p50" in full
    assert "of last 3" in full
    bare = empty.client.get("/fleet").text
    assert "nothing resolved yet" in bare
    assert "no topology here" in bare


def test_a_fault_is_made_where_that_is_wired(fresh: Bench) -> None:
    assert fresh.client.get("/api/v1/faults").json()[0]["name"] == "gpu_off_bus"
    made = fresh.client.post("/api/v1/faults", json={"name": "engine_hang"}, headers=BEARER)
    assert (made.status_code, made.json()["name"]) == (201, "engine_hang")
    unknown = fresh.client.post("/api/v1/faults", json={"name": "nope"}, headers=BEARER)
    assert unknown.status_code == 422
    extra = {"name": "engine_hang", "target": "x"}
    assert fresh.client.post("/api/v1/faults", json=extra, headers=BEARER).status_code == 422
    assert isinstance(fresh.deps.faults, FakeFaults)
    assert fresh.deps.faults.made == ["engine_hang"]


def test_without_an_injector_there_is_no_button_and_no_route(empty: Bench) -> None:
    assert "Make a fault" not in empty.client.get("/fleet").text
    answer = empty.client.post("/api/v1/faults", json={"name": "x"}, headers=BEARER)
    assert answer.status_code == 404


def test_health_readiness_and_figures(empty: Bench) -> None:
    assert empty.client.get("/healthz").json() == {"ok": True}
    assert empty.client.get("/readyz").json()["store"] is True
    empty.client.get("/incidents/nope")
    empty.client.get("/api/v1/incidents/nope")
    text = empty.client.get("/metrics").text
    assert (
        'fleetmend_console_requests_total{route="/incidents/{incident_id}",status="404"} 1.0'
        in text
    )
    api = '{route="/api/v1/incidents/{incident_id}",status="404"}'
    assert f"fleetmend_console_requests_total{api} 1.0" in text
    assert "fleetmend_console_audit_chain_whole 1.0" in text


def test_a_store_that_is_gone_is_said_and_takes_nothing_else_with_it(fresh: Bench) -> None:
    with fresh.store.transaction() as tx:
        tx.incidents._db._connection.exec_driver_sql("ALTER TABLE incidents RENAME TO lost")
    page = fresh.client.get("/incidents")
    assert page.status_code == 503
    assert "The store cannot be read" in page.text
    data = fresh.client.get("/api/v1/incidents")
    assert (data.status_code, data.json()["code"]) == (503, "store_unavailable")
    assert fresh.client.get("/healthz").status_code == 200
