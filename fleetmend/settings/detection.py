"""Settings of detection."""

from pydantic import Field

from fleetmend.settings.section import Section


class DetectionSettings(Section):
    """What detectors wait for, and how sure they must be."""

    window_ticks: int = Field(default=64, ge=16, le=1024)
    """Ticks of history that are kept of every signal. 64: a minute, the longest that a detector
    looks back."""
    warm_samples: int = Field(default=12, ge=4)
    """Samples of a signal before its own past is judged by. 12, with wider limits until about a
    minute has been seen."""
    deviation_harm: float = Field(default=5.0, gt=0)
    """Robust standard deviations at which a signal of harm or fault is odd. 5: telemetry has heavy
    tails."""
    deviation_load: float = Field(default=3.5, gt=0)
    """The same for signals of load, which open nothing by themselves but explain much."""
    votes_needed: int = Field(default=4, ge=1, le=16)
    """Odd samples among the last `votes_of` that make a deviation."""
    votes_of: int = Field(default=5, ge=1, le=16)
    """Samples that are asked. 4 of 5: a single burst is no deviation, and five seconds are."""
    memory_samples: int = Field(default=150, ge=10)
    """Samples over which what is normal follows slow change."""
    accept_load_s: float = Field(default=300.0, gt=0)
    """Seconds after which a new level of load is taken for normal."""
    accept_harm_s: float = Field(default=3600.0, gt=0)
    """Seconds after which a new level of harm or fault is taken for normal."""
    quiet_s: float = Field(default=5.0, gt=0)
    """Seconds without a detector's word after which its finding closes."""
    join_s: float = Field(default=15.0, gt=0)
    """Deviations of one entity that begin within this many seconds belong to one finding."""
    absent_after_s: float = Field(default=5.0, gt=0)
    """Least silence of an entity that counts as absence; sources with longer gaps get more."""
    absent_at_most_s: float = Field(default=60.0, gt=0)
    """Silence that always counts as absence, however long the usual gaps of a source are."""
    frozen_after_s: float = Field(default=15.0, gt=0)
    """Seconds without any movement of signals that always move."""
    stall_s: float = Field(default=3.0, gt=0)
    """Seconds without a token, with requests in hand, when a second witness agrees."""
    stall_alone_s: float = Field(default=8.0, gt=0)
    """The same when there is no second witness to ask."""
    leak_samples: int = Field(default=10, ge=4)
    """Samples in which memory must keep growing."""
    leak_bytes: float = Field(default=268_435_456.0, gt=0)
    """Least growth over these samples. 256 MiB: allocators round to a few tens of MiB."""
    memory_full_share: float = Field(default=0.98, gt=0, le=1)
    """Share of the frame buffer in use from which a GPU is full. Engines fill 0.90 to 0.95 on
    purpose."""
    link_share: float = Field(default=0.15, gt=0, le=1)
    """Share of what a PCIe link can carry from which it counts as busy. Inference needs about a
    thousandth."""
    ttft_limit_s: float = Field(default=2.0, gt=0)
    """Median time to first token that is harm whatever was normal before."""
    forest_trees: int = Field(default=100, ge=10, le=1000)
    """Trees of an isolation forest."""
    forest_samples: int = Field(default=256, ge=16)
    """Rows that each tree sees."""
    forest_calm_s: float = Field(default=40.0, gt=0)
    """Calm seconds learnt from before the first fit. With settling and probation about a minute."""
    forest_refit_s: float = Field(default=600.0, gt=0)
    """Seconds between fits; skipped while anything is odd."""
    forest_quantile: float = Field(default=0.995, gt=0.5, lt=1)
    """Quantile of a cohort's own calm scores above which a score is odd."""
    seed: int = Field(default=7, ge=0)
    """Seed of everything that draws lots. Fixed, so that a replay fits the same trees."""
