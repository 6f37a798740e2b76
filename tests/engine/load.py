"""Clients of an engine, and what they came to."""

import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import httpx

_PATIENCE_S = 180.0
_VOCABULARY = (300, 1000)
"""Tokens that are neither special nor single bytes."""


class Clients:
    """Requests in hand: so many clients ask one after the other until they are told to end."""

    def __init__(self, url: str, number: int, *, prompt: int, tokens: int) -> None:
        """`prompt`: tokens of each prompt, other ones in each; `tokens` of each answer."""
        self._url, self._prompt, self._tokens = url, prompt, tokens
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(max(1, number))
        self._asked: list[Future[list[int]]] = [
            self._pool.submit(self._ask, random.Random(seed)) for seed in range(number)
        ]

    def end(self) -> list[int]:
        """No further requests; the HTTP status of each, 0 where there was no answer."""
        self._over.set()
        found = [status for asked in self._asked for status in asked.result(_PATIENCE_S)]
        self._pool.shutdown()
        return found

    def _ask(self, draws: random.Random) -> list[int]:
        found: list[int] = []
        with httpx.Client(timeout=_PATIENCE_S, trust_env=False) as client:
            while not self._over.is_set():
                found.append(self._once(client, draws))
                if not found[-1]:
                    break  # nobody is there
        return found

    def _once(self, client: httpx.Client, draws: random.Random) -> int:
        body = {
            "model": "tiny",
            "prompt": [draws.randrange(*_VOCABULARY) for _ in range(self._prompt)],
            "max_tokens": self._tokens,
            "ignore_eos": True,
            "temperature": 1.0,
        }
        try:
            return client.post(f"{self._url}/v1/completions", json=body).status_code
        except httpx.HTTPError:
            return 0
