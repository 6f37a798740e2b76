"""Calls with a deadline: whatever a call raises, the next ones are still made."""

from collectors.nvml.port import NvmlError, NvmlFailure
from collectors.nvml.watch import Watch


def test_an_error_of_any_kind_is_that_calls_answer_and_ends_nothing() -> None:
    watch = Watch(deadline_s=5.0)

    def broken() -> int:
        raise KeyError("GPU-1")

    outcomes = watch.each({"first": broken, "second": lambda: 2})
    later = watch.call("third", lambda: 3)
    watch.close()

    failed = outcomes["first"]
    assert isinstance(failed, NvmlError)
    assert (failed.failure, "GPU-1" in str(failed)) == (NvmlFailure.FAILED, True)
    assert (outcomes["second"], later, watch.hung) == (2, 3, {})
