"""What the platform itself did, told to the platform: action events on their way to the log.

The ledger puts a row into the outbox in the transaction that keeps the outcome; `publish_actions`
moves due rows to the topic `actions`, which keeps them, and those that change something also to
`events`, where root cause analysis learns what is our own doing. A row that was sent and not ticked
off is sent again under the same event id, which every reader takes as one event.
"""

from pydantic import TypeAdapter, ValidationError

from fleetmend.clock import Clock
from fleetmend.errors import StreamError
from fleetmend.model.events import Event
from fleetmend.model.plans import ActionKind
from fleetmend.store import Store, Transaction
from fleetmend.streams.port import Log, Outgoing
from fleetmend.streams.topics import Topic

KIND = "action"
RECEIVER = "log"
RETRY_S = 5.0
_EVENT = TypeAdapter(Event)


def action_row(tx: Transaction, event: Event, *, incident: str, at_s: float) -> None:
    """Have `event` published; the same event again changes nothing."""
    body = _EVENT.dump_json(event)
    tx.outbox.put(id=event.id, kind=KIND, receiver=RECEIVER, body=body, at_s=at_s, lane=incident)


def publish_actions(store: Store, log: Log, clock: Clock, *, limit: int = 100) -> int:
    """Move up to `limit` due rows to the log; how many went."""
    with store.transaction() as tx:
        rows = tx.outbox.due(clock.now_s(), limit, kind=KIND, receiver=RECEIVER, hold_s=RETRY_S)
    sent = 0
    for row in rows:
        try:
            event = _EVENT.validate_json(row.body)
            log.append(_told(event, row.lane))
        except ValidationError as error:
            with store.transaction() as tx:
                tx.outbox.reject(row.id, str(error))
            continue
        except StreamError as error:
            with store.transaction() as tx:
                tx.outbox.retry(row.id, clock.now_s() + RETRY_S, str(error))
            break
        with store.transaction() as tx:
            tx.outbox.delivered(row.id, clock.now_s())
        sent += 1
    return sent


def _told(event: Event, lane: str) -> list[Outgoing]:
    told = [Outgoing(Topic.ACTIONS, lane, event)]
    if event.data.get("action") != ActionKind.NOTIFY.value:  # words change nothing
        told.append(Outgoing(Topic.EVENTS, event.node or event.source, event))
    return told
