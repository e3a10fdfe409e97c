#!/bin/sh
# Runs every test and says at the end how many were skipped and why. In CI a
# test that is skipped for want of root or BPF fails (internal/testenv). With
# COVER=1 it also wants internal/ covered, generated code left out.
set -u
min=85
[ -z "${COVER:-}" ] || set -- -coverpkg=./internal/... -coverprofile=coverage.out "$@"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
# The tests record the whole host and want its answers in time: each package's run
# alone. What they are compiled of is made before, by all processors. Some build
# the programs in a child process, which Go's cache of results does not see.
go test "$@" -run '^$' ./... >/dev/null 2>&1
go test -count=1 -timeout 60m -v -p 1 "$@" ./... >"$out" 2>&1
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
	# What a test says comes before its verdict, and after that of others.
	awk '
		/^=== (RUN|NAME|CONT) / { test = $3; if ($2 == "RUN") said[test] = ""; next }
		/^ +[A-Za-z0-9_]+\.go:[0-9]+: / { sub(/^ +/, ""); said[test] = $0; next }
		/^ *--- SKIP: / { print "  " $3 ": " (said[$3] == "" ? "no reason given" : said[$3]) }
	' "$out"
fi
echo "$passed passed, $failed failed, $skipped skipped"
if [ "$status" -ne 0 ] || [ -z "${COVER:-}" ]; then
	exit "$status"
fi
sed -i.all '/_bpfel\.go:/d' coverage.out && rm coverage.out.all
total=$(go tool cover -func=coverage.out | awk 'END { sub("%", "", $3); print int($3) }')
echo "coverage of internal/: $total %"
if [ "$total" -lt "$min" ]; then
	echo "coverage of internal/ is below $min %" >&2
	exit 1
fi
