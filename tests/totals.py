"""The closing line over several pytest runs: `python -m tests.totals A.xml B.xml`."""

import sys
from xml.etree import ElementTree


def main(paths: list[str]) -> int:
    """Print `N passed, N failed, N skipped`; 1 when anything failed or nothing ran."""
    passed = failed = skipped = 0
    for path in paths:
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):  # noqa: S314  our own file
            tests, bad = int(suite.get("tests", 0)), 0
            bad += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            left_out = int(suite.get("skipped", 0))
            passed, failed, skipped = (
                passed + tests - bad - left_out,
                failed + bad,
                skipped + left_out,
            )
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
