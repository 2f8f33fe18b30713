#!/usr/bin/env bash
# Runs every fuzz target of the root module for FUZZTIME each. Targets are found,
# not listed, so that a new one is never forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${FUZZTIME:-5s}
found=0
while IFS=: read -r file target; do
  found=$((found + 1))
  echo "--- fuzz $target in $(dirname "$file") for $time"
  go test -run '^$' -fuzz "^${target}\$" -fuzztime "$time" -fuzzminimizetime 10x "./$(dirname "$file")"
done < <(grep -rnoE --include='*_test.go' --exclude-dir=internal --exclude-dir=examples '^func Fuzz[A-Za-z0-9_]+' . |
  sed -E 's#^\./([^:]+):[0-9]+:func (Fuzz.*)$#\1:\2#')
[ "$found" -ge 5 ] || { echo "found only $found fuzz targets" >&2; exit 1; }
echo "fuzz targets run: $found"
