#!/usr/bin/env bash
# benchmarks.h200 on a machine that reaches no package registry.
#   benchmarks/h200.sh prepare FOLDER [3.12]   here: wheels for that Python on x86-64, and libbpf
#   benchmarks/h200.sh run OUT [FOLDER [more]] there, as root: needs python3 with pip, numpy, pyarrow
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What the agent imports beyond numpy, pyarrow and what these bring; the lock file says which version.
NEEDED="annotated-doc annotated-types click crc32c h2 hpack hyperframe kafka-python lz4
  markdown-it-py mdurl numpy nvidia-ml-py prometheus-client pyarrow pydantic pydantic-core pygments
  rich shellingham typer typing-extensions typing-inspection"

prepare() {
  local folder=$1 python=${2:-3.12} name version
  mkdir -p "$folder/wheels" "$folder/lib"
  for name in $NEEDED; do
    version=$(sed -n "s/^$name==\([^ ;]*\).*/\1/p" requirements.lock | head -1)
    [ -n "$version" ] || { echo "$name is not in requirements.lock" >&2; exit 1; }
    case $name in numpy | pyarrow) continue ;; esac # large, and usually there
    python3 -m pip download -q --no-deps --only-binary=:all: --python-version "$python" \
      --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
      --platform manylinux2014_x86_64 --platform manylinux1_x86_64 \
      -d "$folder/wheels" "$name==$version"
  done
  for name in libbpf.so.1 libelf.so.1; do
    cp -L "/usr/lib/x86_64-linux-gnu/$name" "$folder/lib/$name"
  done
  du -sh "$folder"
}

run() {
  local out=$1 folder=${2:-} site
  shift $(($# < 2 ? $# : 2))
  if [ -n "$folder" ]; then
    site=$(mktemp -d)
    python3 -m pip install -q --no-index --no-deps --no-cache-dir --target "$site" \
      "$folder"/wheels/*.whl
    folder=$(cd "$folder" && pwd)
    export PYTHONPATH=$site LD_LIBRARY_PATH=$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  fi
  # As an image has it: compiling in the agent's own process would count as its memory.
  unset PYTHONDONTWRITEBYTECODE
  python3 -m compileall -q fleetmend collectors benchmarks || true
  PYTHONUNBUFFERED=1 python3 -m benchmarks.h200 --out "$out" "$@"
}

"$@"
