"""What a parser holds after pages whose labels change at each scrape, in a process of its own: what
all parsers share, Python's own table of strings too, is counted, and grows in leaps that depend on
all that the process has read before."""

import json
import sys
import tracemalloc

from collectors.exposition import Exposition


def held(*, line: str, lines: int, length: int, scrapes: int) -> dict[str, int]:
    """Bytes held, label tables begun and labels in the last one after so many scrapes of `line`."""
    parser = Exposition()
    tables = set()
    tracemalloc.start()
    for scrape in range(scrapes):
        names = (f"{scrape:02}{i:03}".zfill(length) for i in range(lines))
        page = parser.parse("\n".join(map(line.format, names)))
        tables.add(id(page.reading.table))
    held_bytes, _ = tracemalloc.get_traced_memory()
    return {"bytes": held_bytes, "tables": len(tables), "labels": len(page.reading.table)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(held(**json.loads(sys.argv[1]))))
