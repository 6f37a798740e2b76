"""What one replica is asked next, and what its answers come to. `collector` does the asking."""

import random
from dataclasses import dataclass

from collectors.probe.golden import Checked, Memory, Said, check
from collectors.probe.load import Load
from collectors.probe.pace import Pace
from collectors.probe.references import References
from collectors.probe.request import Answer, Ask, Asker
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.settings.probe import ProbeSettings, ReplicaSettings


@dataclass(frozen=True, slots=True)
class Golden:
    """A comparison with what has come of all of them."""

    prompt: str
    checked: Checked
    memory: Memory
    """Of this prompt."""
    checked_ever: int
    """Comparisons of all prompts at this replica."""
    missed_ever: int
    told: bool
    """So many misses in a row that it is told as silent corruption."""


class Replica:
    """One replica and its timetable. Moments are of the monotonic clock."""

    def __init__(
        self,
        replica: ReplicaSettings,
        settings: ProbeSettings,
        *,
        cluster: str,
        clock: Clock,
        rng: random.Random,
        references: References,
    ) -> None:
        self.settings = replica
        self.subject = entity_id(cluster, EntityKind.ENGINE, replica.engine)
        self.asker = Asker(replica, clock, body_bytes_max=settings.body_bytes_max)
        self._golden = settings.golden
        self._canary = Ask(settings.prompt, 1)
        self._pace = Pace(settings, rng)
        self._references = references
        now_s = clock.monotonic_s()
        self._due_s = now_s + self._pace.first_s(replica.interval_s)
        self._golden_due_s = now_s + self._pace.first_s(settings.golden.interval_s)
        self._turn = 0
        self._failures = 0
        self._held = False

    @property
    def due_s(self) -> float:
        """When it may be asked next."""
        return self._due_s

    def next(self, now_s: float, load: Load | None) -> Ask | None:
        """What to ask now; None while its load speaks against it, and then it is due again one
        interval later."""
        self._held = load is not None and load.busy
        if self._held:
            self._due_s = now_s + self._pace.after_s(0, self.settings.interval_s)
            return None
        # Sums come out otherwise in a batch with others: a golden prompt is for idle engines.
        alone = load is not None and load.alone and not self._failures
        if self._golden.prompts and alone and self._golden_due_s <= now_s:
            prompt = self._golden.prompts[self._turn % len(self._golden.prompts)]
            return Ask(prompt, self._golden.tokens, golden=True)
        return self._canary

    @property
    def held(self) -> bool:
        """Whether it was not asked the last time, because it has a queue and works."""
        return self._held

    def took(self, ask: Ask, answer: Answer, now_s: float) -> Golden | None:
        """Take in an answer; what a golden prompt came to."""
        self._failures = self._failures + 1 if answer.ok is False else 0
        self._due_s = now_s + self._pace.after_s(self._failures, self.settings.interval_s)
        if not ask.golden or not answer.ok:
            return None
        memory = self._references.memory(self.settings.engine, ask.prompt, ask.tokens)
        checked = check(memory, Said(answer.tokens, answer.logprobs), answer.build, self._golden)
        pause_s = self._golden.confirm_s if memory.in_a_row else self._golden.interval_s
        if not memory.in_a_row:  # the one that missed is asked again, the others wait
            self._turn += 1
        self._golden_due_s = now_s + self._pace.after_s(0, pause_s)
        self._due_s = min(self._due_s, self._golden_due_s)
        told = memory.in_a_row >= self._golden.misses
        ever = self._references.counts(self.settings.engine)
        return Golden(ask.prompt, checked, memory, *ever, told)
