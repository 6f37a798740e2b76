"""One fuzzer, guided by coverage: `python -m tests.fuzz.target otlp FOLDER... -max_total_time=60`.

libFuzzer goes on from the files of the folders, writes what it finds into the first one, and leaves
an input that breaks the claim in a `crash-` file. `benchmarks.fuzz` runs it for all targets.
"""

import importlib
import sys

import atheris

from tests.fuzz.corpus import TARGETS


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name = sys.argv.pop(1)
    if name not in TARGETS:
        raise SystemExit(f"{name}: not one of {', '.join(TARGETS)}")
    with atheris.instrument_imports(include=["collectors"]):
        target = importlib.import_module(f"tests.fuzz.{name}")
    atheris.Setup(sys.argv, target.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
