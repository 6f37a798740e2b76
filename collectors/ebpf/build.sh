#!/usr/bin/env bash
# Compiles gpu.bpf.c to the committed object and records the hash of the source and the compiler
# beside it: the same compiler makes the same bytes, in whatever folder.
# For developers alone: needs clang, llvm and libbpf-dev; nodes load the object as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
machine=$(uname -m)
[ "$machine" = x86_64 ] || { echo "no call registers are known for $machine" >&2; exit 1; }
object=gpu.$machine.bpf.o
clang -g -O2 -Wall -Werror -Wno-unused-parameter -target bpf -D__TARGET_ARCH_x86 \
  -I"/usr/include/$machine-linux-gnu" -ffile-prefix-map="$PWD"=. -c gpu.bpf.c -o "$object"
llvm-strip -g "$object" # drops DWARF, keeps BTF
sha256sum gpu.bpf.c | cut -d' ' -f1 > "$object.source"
clang --version | head -1 > "$object.compiler"
