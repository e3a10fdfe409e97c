#!/bin/sh
# Runs every fuzz target for FUZZTIME. Fails where one crashes, after all have run.
set -eu
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
packages=$(go list ./...)
for pkg in $packages; do
	dir=$(go list -f '{{.Dir}}' "$pkg")
	for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go 2>/dev/null | sed 's/^func //'); do
		echo "$pkg $target"
		if go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "$pkg" >"$out" 2>&1; then
			tail -n 1 "$out"
		else
			cat "$out"
			status=1
		fi
	done
done
exit "$status"
