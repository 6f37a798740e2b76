#!/usr/bin/env bash
# Everything, on a fresh machine: the long builds start first at low priority, the light tests run
# meanwhile, then each group of real parts one after another (two heavy parts at once on two cores
# give flaky time-outs). Prints the slowest tests of each group and one closing line of totals.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit_s=4800 # hard stop: 80 minutes
started=$(date +%s)
results=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$results"' EXIT

say() { printf '\n[%4ds] %s\n' "$(($(date +%s) - started))" "$*"; }
die() { say "$*"; exit 1; }

packages() { # Debian packages that real parts come from; nothing is started by their installation
  local missing=()
  [ -x /usr/lib/postgresql/15/bin/initdb ] || missing+=(postgresql-15)
  [ -x /usr/bin/chromium ] || missing+=(chromium)
  [ -d /usr/share/fonts/opentype/noto ] || missing+=(fonts-noto-cjk)
  ldconfig -p | grep -q 'libbpf\.so\.1' || missing+=(libbpf1)
  [ -x /usr/bin/gcc ] || missing+=(gcc libc6-dev)
  [ ${#missing[@]} -eq 0 ] && return
  say "installing ${missing[*]}"
  mkdir -p /etc/postgresql-common
  [ -f /etc/postgresql-common/createcluster.conf ] ||
    echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
  apt-get update -qq > /dev/null &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      -o Dpkg::Options::=--force-confold "${missing[@]}" > /dev/null
}

group() { # NAME PYTEST-ARGUMENTS...: one pytest run, its totals kept
  local name=$1; shift
  say "tests: $name"
  local left=$((limit_s - $(date +%s) + started))
  [ "$left" -gt 0 ] || die "out of time before $name"
  COVERAGE_FILE=$results/.coverage.$name timeout --foreground "$left" \
    .venv/bin/coverage run -m pytest -q --durations=5 --junitxml="$results/$name.xml" "$@" || failed=1
}

failed=0
make --no-print-directory setup || die "setup failed"
say "building the control plane in the background"
nice -n 19 .venv/bin/python -m deploy.parts.build > "$results/build.log" 2>&1 &
build=$!
packages || die "Debian packages could not be installed"
make --no-print-directory web || die "the console's assets could not be built"

say "lint and types"
.venv/bin/ruff check . && .venv/bin/ruff format --check --quiet . || failed=1
.venv/bin/lint-imports --no-cache || failed=1
.venv/bin/mypy || failed=1

group light tests/unit tests/tidy tests/docs tests/contract tests/simulation
group postgres tests/real -m postgres
group kafka tests/real -m kafka
group browser tests/real -m browser
say "waiting for the control plane"
wait "$build" || { cat "$results/build.log"; die "the control plane could not be built"; }
group kube tests/real -m kube
group flow tests/flow

say "coverage"
.venv/bin/coverage combine --quiet --data-file="$results/all" "$results"/.coverage.* &&
  .venv/bin/coverage report --data-file="$results/all" --skip-covered --sort=cover | tail -n 40
.venv/bin/python -m tests.totals "$results"/*.xml || failed=1
exit "$failed"
