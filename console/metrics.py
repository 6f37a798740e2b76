"""The console's own figures, in the registry that /metrics shows."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """Counters that routes raise; gauges that are read when somebody scrapes."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        readers: Callable[[], float],
        store_ok: Callable[[], float],
        chain_whole: Callable[[], float],
    ) -> None:
        self.requests = Counter(
            "fleetmend_console_requests",
            "Requests answered, by route and status.",
            ["route", "status"],
            registry=registry,
        )
        self.decisions = Counter(
            "fleetmend_console_decisions",
            "Decisions of people: approve, deny, halt, resume, and what became of them.",
            ["decision", "outcome"],
            registry=registry,
        )
        self.logins = Counter(
            "fleetmend_console_logins", "Tries to log in.", ["outcome"], registry=registry
        )
        for name, text, function in (
            ("stream_readers", "Live streams open now.", readers),
            ("store_reachable", "1 when the last look at the store succeeded.", store_ok),
            ("audit_chain_whole", "1 while no breach of the audit chain is known.", chain_whole),
        ):
            gauge = Gauge(f"fleetmend_console_{name}", text, registry=registry)
            gauge.set_function(function)

    def answered(self, route: str, status: int) -> None:
        """Count one answer. `route` is the pattern, never the address: labels stay few."""
        self.requests.labels(route, str(status)).inc()
