#!/bin/sh
# Coverage of internal/ by all tests together, generated code left out.
set -eu
min=85
go test -short -coverpkg=./internal/... -coverprofile=coverage.out ./... >/dev/null
grep -v '_bpfel\.go:' coverage.out >coverage.tmp && mv coverage.tmp coverage.out
go tool cover -func=coverage.out | tail -n 1
total=$(go tool cover -func=coverage.out | awk 'END { sub("%", "", $3); print int($3) }')
if [ "$total" -lt "$min" ]; then
	echo "coverage of internal/ is $total %, below $min %" >&2
	exit 1
fi
