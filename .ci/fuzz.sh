#!/usr/bin/env bash
# Runs every fuzz target of the root module for FUZZTIME each. Targets are found,
# not listed, so that a new one is never forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${FUZZTIME:-5s}
found=0

# Go's fuzzer may take the end of its time for a failure ("context deadline
# exceeded", without a failing input): that is tried again, anything else is not.
fuzz() { # target folder
  local log try
  log=$(mktemp)
  for try in 1 2 3; do
    if go test -run '^$' -fuzz "^$1\$" -fuzztime "$time" -fuzzminimizetime 10x "./$2" 2>&1 | tee "$log"; then
      rm -f "$log"
      return 0
    fi
    if ! grep -q '^ *context deadline exceeded$' "$log" || grep -q 'Failing input' "$log"; then break; fi
    echo "no failing input; again (try $try of 3)"
  done
  rm -f "$log"
  return 1
}

while IFS=: read -r file target; do
  found=$((found + 1))
  echo "--- fuzz $target in $(dirname "$file") for $time"
  fuzz "$target" "$(dirname "$file")"
done < <(grep -rnoE --include='*_test.go' --exclude-dir=internal --exclude-dir=examples '^func Fuzz[A-Za-z0-9_]+' . |
  sed -E 's#^\./([^:]+):[0-9]+:func (Fuzz.*)$#\1:\2#')
[ "$found" -ge 5 ] || { echo "found only $found fuzz targets" >&2; exit 1; }
echo "fuzz targets run: $found"
