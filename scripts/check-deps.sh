#!/bin/sh
# The privileged program stays small: no SQL, HTTP, YAML, mail or rule code.
set -eu
deps=$(go list -deps ./cmd/procmond)
heavy=$(echo "$deps" | grep -E '^net/http$|^database/sql|sqlite|go-yaml|sqlparser|go-mail|koanf|sentineld/internal/(store|rule|detect|alert|pipeline|config)' || true)
if [ -n "$heavy" ]; then
	echo "procmond must not link:" >&2
	echo "$heavy" >&2
	exit 1
fi
echo "procmond links nothing that it must not"
