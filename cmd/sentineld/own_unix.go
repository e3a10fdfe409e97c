//go:build unix

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// noFollow makes it an error to open a link.
const noFollow = syscall.O_NOFOLLOW

// isOwn tells whether nobody but this user and root can say what is at an absolute
// path: all directories that are on the way to it are theirs, as are the links.
func isOwn(path string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it will be made
		case err != nil:
			return false
		default:
			if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() && st.Uid != 0 {
				return false
			}
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
