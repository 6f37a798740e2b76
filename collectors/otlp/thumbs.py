"""Thumbs of people over plain HTTP: votes become totals for each model and tenant.

For gateways and chat pages that have no OpenTelemetry: `POST /v1/feedback` at the HTTP door, with
the same senders and tokens (`collectors.otlp.over_http`). All senders add to the same totals, so
that any number of replicas may send. A vote with an id counts once, however often it is sent.
"""

import threading
from collections import OrderedDict
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from collectors.otlp.rights import Rights
from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityId, EntityKind, entity_id, kind_of
from fleetmend.model.samples import SampleBatch

VOTES_MAX = 1_000
"""Votes of one request."""
_TELL_S = 1.0
"""Event time between two samples of a total that moved."""
_IDS_MAX = 65_536
"""Ids that are remembered: a sender that tries again does so within minutes."""
Text = Annotated[str, StringConstraints(max_length=253, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Vote(BaseModel):
    """One thumb."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rating: Literal["up", "down"]
    model: Text = ""
    """Name of the model as its engines call it."""
    tenant: Text = ""
    id: Text = ""
    """Of the answer that was voted on, where a vote may be sent more than once."""


class Votes(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    votes: list[Vote] = Field(max_length=VOTES_MAX)


class Thumbs:
    """The totals; safe for several threads."""

    def __init__(self, *, cluster: str, names_max: int) -> None:
        """`names_max`: most models, and most tenants, that the votes of one sender may name."""
        self._cluster = cluster
        self._names_max = names_max
        self._lock = threading.Lock()
        self._totals: dict[EntityId, dict[str, int]] = {}
        """Votes of each entity by rating."""
        self._waiting: dict[tuple[EntityId, str], int] = {}
        """Votes since the totals were last told."""
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Votes that had an id, by sender."""
        self._named: dict[tuple[str, EntityKind], set[EntityId]] = {}
        """By sender: one that makes names up leaves the others theirs."""
        self._told_s = float("-inf")

    def take(self, rights: Rights, body: bytes) -> tuple[int, dict[str, int]]:
        """Count the votes of a request; how many counted, and how many did not by reason. Raises
        BadInput, and then none of them counts."""
        votes = _read(body)
        if not rights.may_vote:
            return 0, {"not_its_own": len(votes)}
        taken, refused = 0, {"not_its_own": 0, "names": 0, "repeated": 0}
        with self._lock:
            for vote in votes:
                why = self._count(rights, vote)
                if why:
                    refused[why] += 1
                else:
                    taken += 1
        return taken, {why: count for why, count in refused.items() if count}

    def batch(self, now_s: float) -> SampleBatch | None:
        """The totals that moved, now and then; None where there is nothing to tell.

        What is voted on for the first time is told as 0 first: growth needs a beginning.
        """
        with self._lock:
            if not self._waiting or now_s - self._told_s < _TELL_S:
                return None
            self._told_s = now_s
            rows: list[tuple[float, str, str, float]] = []
            new = {entity for entity, _ in self._waiting if entity not in self._totals}
            for entity in sorted(new):
                self._totals[entity] = {"up": 0, "down": 0}
                rows += [(now_s, entity, _signal(entity, each), 0.0) for each in ("up", "down")]
            kept = {key: count for key, count in self._waiting.items() if key[0] in new}
            for (entity, rating), count in self._waiting.items():
                if entity not in new:
                    totals = self._totals[entity]
                    totals[rating] += count
                    rows.append((now_s, entity, _signal(entity, rating), float(totals[rating])))
            self._waiting = kept
            return SampleBatch.from_rows(rows)

    def _count(self, rights: Rights, vote: Vote) -> str:
        """Why a vote does not count; empty when it does."""
        own = rights.settings.tenant
        tenant = vote.tenant or own
        if own and tenant != own:
            return "not_its_own"
        key = rights.settings.name, vote.id
        if vote.id and key in self._seen:
            return "repeated"
        entities = [
            entity_id(self._cluster, kind, name)
            for kind, name in ((EntityKind.MODEL, vote.model), (EntityKind.TENANT, tenant))
            if name
        ]
        if not all(self._admits(rights.settings.name, entity) for entity in entities):
            return "names"
        if vote.id:
            self._seen[key] = None
            if len(self._seen) > _IDS_MAX:
                self._seen.popitem(last=False)
        for entity in entities:
            self._waiting[entity, vote.rating] = self._waiting.get((entity, vote.rating), 0) + 1
        return ""

    def _admits(self, sender: str, entity: EntityId) -> bool:
        """Whether something is known, or one of the first of its kind that a sender names."""
        named = self._named.setdefault((sender, kind_of(entity)), set())
        if entity not in named and len(named) >= self._names_max:
            return False
        named.add(entity)
        return True


def _signal(entity: EntityId, rating: str) -> str:
    return f"{kind_of(entity).value}.feedback_{rating}"


def _read(body: bytes) -> list[Vote]:
    try:
        votes = Votes.model_validate_json(body).votes
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{where}: {first['msg']}"[:200]) from error
    for number, vote in enumerate(votes):
        if not (vote.model or vote.tenant):
            raise BadInput(f"votes.{number}: names neither model nor tenant")
    return votes
