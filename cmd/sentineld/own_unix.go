//go:build unix

package main

import (
	"os"
	"syscall"
)

// isOwn tells whether a file is this user's.
func isOwn(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
