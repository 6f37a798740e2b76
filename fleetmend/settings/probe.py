"""Settings of the canary probe: whom it asks, how often, and what an answer is compared with."""

from typing import Self

from pydantic import Field, model_validator

from fleetmend.settings.section import Section


class ReplicaSettings(Section):
    """One engine replica that is asked for a token now and then."""

    url: str = Field(pattern=r"^https?://[^/\s]+(/\S*)?$")
    """Address of its API, without `/v1/completions`: `http://10.0.0.7:8000`. Redirects are not
    followed."""
    engine: str = Field(min_length=1)
    """The key of the engine's entity, as in its target."""
    node: str = ""
    """Name of the node that it runs on."""
    model: str = ""
    """Name of the model as requests give it; empty: the first that `/v1/models` names."""
    token_file: str = ""
    """File with a bearer token, read anew for each request. Empty: none is sent."""
    interval_s: float = Field(default=10.0, ge=0.05, le=3600)
    """Seconds between two canary requests while all is well. 10: a hang that began while idle is
    known within a quarter of a minute, and the engine makes six tokens more a minute."""
    timeout_s: float = Field(default=5.0, gt=0, le=300)
    """Seconds for one request, from connecting to the last byte. 5: an engine without a queue
    answers in tenths of a second, and one with a queue is not asked."""
    priority: int = 0
    """Sent as `priority` unless 0. A large number is the lowest on vLLM with
    `--scheduling-policy priority`; other engines may refuse the field."""


class GoldenSettings(Section):
    """Prompts whose answer is known."""

    prompts: tuple[str, ...] = ("One, two, three, four,", "The opposite of hot is")
    """What is asked, in turn; empty: nothing. Short ones, below a cache block of 16 tokens, so that
    they are computed each time and not taken from the prefix cache."""
    tokens: int = Field(default=8, ge=1, le=64)
    """Tokens of an answer that are compared."""
    interval_s: float = Field(default=60.0, ge=0.05, le=86_400)
    """Seconds between two golden prompts to one replica."""
    confirm_s: float = Field(default=10.0, ge=0.05, le=3600)
    """Seconds until a prompt that missed is asked again."""
    tolerance: float = Field(default=0.1, gt=0, le=10)
    """Largest distance in nats of a log-probability from its reference that is no miss. 0.1: an
    engine that is alone repeats itself to the last digit; beside other requests its bf16 sums are
    taken in another order, and moved by 0.053 at most (vLLM on a CPU, a model of two layers:
    `benchmarks/results/engine.json`). Look at `engine.golden_distance` of a healthy fleet before
    you trust it: deeper models and other kernels differ."""
    learn: int = Field(default=5, ge=2, le=100)
    """Answers in a row that must agree within the tolerance before they become the reference."""
    misses: int = Field(default=3, ge=1, le=20)
    """Misses of one prompt in a row before it is told as silent corruption."""
    path: str = "var/golden.json"
    """File that keeps the references and how often they were missed."""


class ProbeSettings(Section):
    """Requests to engines, to see what their metrics hide."""

    replicas: tuple[ReplicaSettings, ...] = ()
    """Replicas that are asked. Empty: no probe."""
    prompt: str = "Hi"
    """Prompt of the canary request, to which one token is wanted."""
    in_flight_max: int = Field(default=32, ge=1, le=1024)
    """Most requests under way at once, over all replicas; never more than one for a replica."""
    body_bytes_max: int = Field(default=65_536, ge=1024)
    """Most bytes of an answer."""
    retry_s: float = Field(default=1.0, ge=0.05, le=300)
    """Seconds to the next try after one that failed; doubled with each further failure."""
    backoff_max_s: float = Field(default=4.0, ge=0.05, le=300)
    """Longest pause after failures. 4: with a time-out of 5, failures come often enough for what
    they mean to stand without a gap."""
    jitter: float = Field(default=0.1, ge=0, lt=1)
    """Share by which each pause is varied, so that replicas are not asked in step."""
    load_fresh_s: float = Field(default=5.0, gt=0)
    """Age in seconds from which what an engine's metrics page said of its load is not used."""
    golden: GoldenSettings = GoldenSettings()
    """Prompts whose answer is known."""

    @model_validator(mode="after")
    def _asked_once(self) -> Self:
        engines = [replica.engine for replica in self.replicas]
        if len(set(engines)) < len(engines):
            raise ValueError("each engine has one replica")
        return self
