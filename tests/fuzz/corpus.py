"""The kept inputs of each fuzzer, under `tests/data/fuzz/<target>`: small files, one input each."""

from pathlib import Path

CORPUS = Path(__file__).parents[1] / "data" / "fuzz"
TARGETS = ("exposition", "kmsg", "otlp")
