#!/bin/sh
# The committed BPF objects must be what the sources give, to the byte, with the
# clang of the current Debian stable (14).
set -eu
if ! command -v clang >/dev/null || ! command -v llvm-strip >/dev/null; then
	echo "clang and llvm are needed (apt-get install clang llvm libbpf-dev)" >&2
	exit 1
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
objects=$(git ls-files 'internal/source/ebpf/*_bpfel.*')
for f in $objects; do cp "$f" "$dir/"; done
go generate ./internal/source/ebpf
status=0
for f in $objects; do
	if ! cmp -s "$f" "$dir/$(basename "$f")"; then
		echo "$f is not what its source gives (run make generate and commit)" >&2
		status=1
	fi
	cp "$dir/$(basename "$f")" "$f"
done
[ "$status" -eq 0 ] && echo "the committed BPF objects are what their sources give"
exit "$status"
