"""The least that can cordon: a loop that looks at a file and patches a node, in one process.

Started by `benchmarks.cordon`, which measures it beside the platform:
`python -m benchmarks.bare_cordon FILE KUBECONFIG NODE`. It knows no second opinion, no limits, no
record and no way back.
"""

import json
import re
import sys
import time
from pathlib import Path

from remediation.kubernetes_rest import MERGE_PATCH, connect

XID = re.compile(r"NVRM: Xid \(PCI:[0-9a-f:]+\): 79,")
POLL_S = 0.01


def main(log: Path, kubeconfig: str, node: str) -> None:
    """Cordon `node` at each line that says that a GPU has fallen off the bus."""
    rest = connect(kubeconfig=kubeconfig, timeout_s=10.0)
    rest.get(f"/api/v1/nodes/{node}")
    print(json.dumps({"ready": node}), flush=True)
    with log.open() as file:
        while True:
            line = file.readline()
            if not line:
                time.sleep(POLL_S)
            elif XID.search(line):
                body = {"spec": {"unschedulable": True}}
                rest.patch(f"/api/v1/nodes/{node}", body, content_type=MERGE_PATCH)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
