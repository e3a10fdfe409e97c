#!/bin/sh
# Builds the programs that scenarios run (testdata/helpers) into a directory. CC
# chooses the compiler: one for another architecture, where they shall run there.
set -eu
out=${1:?usage: scripts/build-helpers.sh DIR}
mkdir -p "$out"
for source in "$(dirname "$0")"/../testdata/helpers/*.c; do
	name=$(basename "$source" .c)
	"${CC:-cc}" -static -O1 -Wall -Wextra -Werror -pthread -o "$out/$name" "$source"
done
