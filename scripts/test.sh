#!/bin/sh
# Runs every test and says at the end how many were skipped and why. In CI a
# test that is skipped for want of root or BPF fails (internal/testenv).
set -u
out=$(mktemp)
trap 'rm -f "$out"' EXIT
go test -v "$@" ./... >"$out" 2>&1
status=$?
grep -E '^(ok|FAIL|\?|panic:)|^\s*--- FAIL' "$out" | grep -v 'no test files' || true
if [ "$status" -ne 0 ]; then
	echo
	echo '--- what failed:'
	# Everything but the passing noise of the failing packages.
	grep -vE '^\s*(=== (RUN|PAUSE|CONT|NAME)|--- PASS|--- SKIP|PASS$|ok )' "$out" | tail -n 300
fi
passed=$(grep -cE '^\s*--- PASS' "$out")
failed=$(grep -cE '^\s*--- FAIL' "$out")
skipped=$(grep -cE '^\s*--- SKIP' "$out")
if [ "$skipped" -gt 0 ]; then
	echo
	echo "$skipped skipped:"
	grep -E '^\s*--- SKIP' -A 2 "$out" | grep -E 'SKIP|[a-z_]+\.go:[0-9]+:' | sed 's/^ */  /' | head -n 60
fi
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
