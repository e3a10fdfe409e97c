package store

import (
	"encoding/binary"
	"strings"
)

// The store keeps arguments as people read and rules match them, joined by one
// space, and beside that, only where it is needed, where to cut them again:
// the length of each argument but the last as an unsigned varint. It is not
// needed (NULL) where no argument is empty or has a space in it; no arguments
// are an empty command line with NULL.

// appendSplits appends to dst where to cut the command line of args, which are
// as in event.Exec.Args. It reports false when that is at each space.
func appendSplits(dst []byte, args string) ([]byte, bool) {
	if args == "" {
		return dst, false
	}
	args = strings.TrimSuffix(args, "\x00")
	if args != "" && args[0] != 0 && args[len(args)-1] != 0 &&
		strings.IndexByte(args, ' ') < 0 && !strings.Contains(args, "\x00\x00") {
		return dst, false
	}
	for {
		i := strings.IndexByte(args, 0)
		if i < 0 {
			return dst, true
		}
		dst = binary.AppendUvarint(dst, uint64(i))
		args = args[i+1:]
	}
}

// splitArgs is the inverse: the arguments of a command line. splits is nil
// for NULL. Bytes that no appendSplits wrote give some cut, never a panic.
func splitArgs(cmdline string, splits []byte) []string {
	if splits == nil {
		if cmdline == "" {
			return nil
		}
		return strings.Split(cmdline, " ")
	}
	args := make([]string, 0, len(splits)+1)
	for len(splits) > 0 {
		n, used := binary.Uvarint(splits)
		if used <= 0 || n >= uint64(len(cmdline)) {
			break
		}
		splits = splits[used:]
		args = append(args, cmdline[:n])
		cmdline = cmdline[n+1:]
	}
	return append(args, cmdline)
}
