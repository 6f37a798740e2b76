"""Settings of root cause analysis."""

from pydantic import Field

from fleetmend.settings.section import Section


class InferSettings(Section):
    """How hypotheses are weighed. Log-odds are natural logarithms: 2.3 is ten to one."""

    open_log_odds: float = -0.5
    """Log-odds from which a cause may open an incident. -0.5: two to three, because a fault that is
    missed costs more than an incident too many."""
    second_log_odds: float = 1.0
    """What a further fault must add to what the others explain. 1: one fault is assumed rather
    than two."""
    margin_log_odds: float = Field(default=0.4, ge=0)
    """Lead over the next cause below which none is named (small_margin). 0.4: three to two."""
    sure_margin_log_odds: float = Field(default=2.3, ge=0)
    """Lead with which an incident opens without waiting for more. 2.3: ten to one."""
    blind_share: float = Field(default=0.6, ge=0, le=1)
    """Share of the expected signs that cannot be heard from which a diagnosis is blind."""
    detection_s: float = Field(default=4.0, ge=0)
    """Seconds that a detector may need before a symptom shows as a finding; a sign counts as
    absent only after them. 4: two samples and a tick."""
    order_tolerance_s: float = Field(default=4.0, ge=0)
    """Seconds by which onsets may be out of order without counting less. 4: scrape period and
    clock skew."""
    order_decay_s: float = Field(default=6.0, gt=0)
    """Seconds outside its lag range in which a symptom's weight falls by a factor of e."""
    change_window_s: float = Field(default=900.0, gt=0)
    """Seconds for which a rollout, setting or driver change counts as recent. 900: a model takes
    minutes to load."""
    change_factor: float = Field(default=8.0, gt=1)
    """How much likelier a recent change makes the faults that changes bring."""


class IncidentSettings(Section):
    """When incidents open, change, and end."""

    window_s: float = Field(default=30.0, gt=0)
    """Findings whose onsets lie further apart are not grouped."""
    hold_s: float = Field(default=1.0, ge=0)
    """Seconds that a new group waits for more evidence unless the cause is clear at once."""
    gather_s: float = Field(default=2.0, ge=0)
    """Seconds for which what several members of a rack, switch or model show waits for their parent
    to show. 2: a rack falls within two samples. A lone entity and an Xid never wait."""
    hold_max_s: float = Field(default=3.0, ge=0)
    """Seconds after which a group opens although its causes lie close together."""
    lone_confidence: float = Field(default=0.75, ge=0, le=1)
    """Confidence with which one sign alone may open an incident. Learned detectors never reach
    it."""
    pair_confidence: float = Field(default=0.5, ge=0, le=1)
    """Confidence that two different signs need to open an incident together."""
    unknown_after_s: float = Field(default=15.0, ge=0)
    """Seconds after which strong findings that no fault class explains open an incident without a
    cause."""
    unknown_confidence: float = Field(default=0.8, ge=0, le=1)
    """Confidence that one of those findings needs."""
    settle_s: float = Field(default=5.0, ge=0)
    """Seconds after opening in which a better cause takes over easily."""
    settle_log_odds: float = Field(default=1.0, ge=0)
    """What the old cause must fall short by in that time."""
    switch_log_odds: float = Field(default=3.0, ge=0)
    """What the old cause must fall short by later. 3: people and plans act on the named cause."""
    takeover_s: float = Field(default=10.0, ge=0)
    """Seconds by which another cause may have begun later than an incident and still take it over;
    what began later still is a new fault."""
    join_strength: float = Field(default=0.25, ge=0, le=1)
    """Probability from which a new finding counts as explained by an open incident and joins
    it."""
    resolve_after_s: float = Field(default=5.0, ge=0)
    """Seconds for which nothing that is open may speak for the cause any more."""
    mitigated_hold_s: float = Field(default=60.0, ge=0)
    """Seconds for which an incident stays mitigated while an action of ours is in place: without
    load the fault cannot show."""
    confirm_s: float = Field(default=15.0, gt=0)
    """Seconds after which a provisional incident that no tick has confirmed is taken back."""
    echo_s: float = Field(default=10.0, ge=0)
    """Seconds after a fault's end in which a draining backlog is taken for its echo."""
    closing_s: float = Field(default=6.0, ge=0)
    """Seconds by which findings close later than the fault ends. 6: the quiet time of detection
    and a tick."""


class SeveritySettings(Section):
    """The severity table (docs/operations.md)."""

    availability_min: float = Field(default=0.99, gt=0, le=1)
    """Share of a model's engines that must serve; below it an incident is P0."""
    latency_max_s: float = Field(default=2.0, gt=0)
    """First-token or request latency above which requests count as slow."""
    latency_for_s: float = Field(default=300.0, ge=0)
    """Seconds of slow requests after which an incident is P1."""
    memory_share_max: float = Field(default=0.9, gt=0, le=1)
    """Share of GPU memory above which an incident is at least P2."""


class RcaSettings(Section):
    """Root cause analysis."""

    knowledge_dir: str = ""
    """Folder of further fault classes (`*.toml`); one with a built-in's name replaces it. Empty:
    only the built-in ones."""
    infer: InferSettings = InferSettings()
    """How hypotheses are weighed."""
    incident: IncidentSettings = IncidentSettings()
    """When incidents open, change and end."""
    severity: SeveritySettings = SeveritySettings()
    """How bad an incident is."""
