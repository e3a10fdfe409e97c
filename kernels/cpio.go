package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// cpio writes an initramfs: the "newc" form of the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst, with everything
// owned by root. Directories must come before what is in them.
type cpio struct {
	w    io.Writer
	ino  int
	seen map[string]bool
	err  error // the first
}

func newCPIO(w io.Writer) *cpio { return &cpio{w: w, seen: map[string]bool{"": true, ".": true}} }

// entry writes one header, name and content. mode is that of stat(2).
func (c *cpio) entry(name string, mode uint32, size int64, content io.Reader, major, minor uint32) {
	if c.err != nil || c.seen[name] {
		return
	}
	c.seen[name] = true
	c.ino++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.ino, mode, 0, 0, 1, 0, size, 0, 0, major, minor, len(name)+1, 0) + name + "\x00"
	if _, c.err = io.WriteString(c.w, header+pad(int64(len(header)))); c.err != nil || size == 0 {
		return
	}
	n, err := io.Copy(c.w, io.LimitReader(content, size))
	if c.err = err; err == nil && n != size {
		c.err = fmt.Errorf("%s: %d bytes instead of %d", name, n, size)
	}
	if c.err == nil {
		_, c.err = io.WriteString(c.w, pad(size))
	}
}

// pad is what is missing to a multiple of four.
func pad(n int64) string { return "\x00\x00\x00"[:(4-n%4)%4] }

// dir makes a directory and those above it.
func (c *cpio) dir(name string) {
	if name == "" || name == "." || name == "/" || c.seen[name] {
		return
	}
	c.dir(path.Dir(name))
	c.entry(name, 0o040755, 0, nil, 0, 0)
}

// file copies a file of the host.
func (c *cpio) file(name, from string) {
	c.dir(path.Dir(name))
	f, err := os.Open(from)
	if err == nil {
		defer f.Close()
		var st fs.FileInfo
		if st, err = f.Stat(); err == nil {
			mode := uint32(0o100000) | uint32(st.Mode().Perm())
			if st.Mode()&fs.ModeSetuid != 0 {
				mode |= 0o4000
			}
			if st.Mode()&fs.ModeSetgid != 0 {
				mode |= 0o2000
			}
			c.entry(name, mode, st.Size(), f, 0, 0)
			return
		}
	}
	if c.err == nil {
		c.err = err
	}
}

func (c *cpio) symlink(name, target string) {
	c.dir(path.Dir(name))
	c.entry(name, 0o120777, int64(len(target)), strings.NewReader(target), 0, 0)
}

func (c *cpio) text(name, content string) {
	c.dir(path.Dir(name))
	c.entry(name, 0o100644, int64(len(content)), strings.NewReader(content), 0, 0)
}

func (c *cpio) device(name string, major, minor uint32) {
	c.dir(path.Dir(name))
	c.entry(name, 0o020600, 0, nil, major, minor)
}

// tree copies a directory of the host to name. to gives a file its name below
// it, or "" to leave it out.
func (c *cpio) tree(name, from string, to func(rel string) string) {
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if rel = to(rel); rel == "" {
			return nil
		}
		n := path.Join(name, rel)
		switch d.Type() {
		case fs.ModeDir:
			c.dir(n)
		case fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			c.symlink(n, filepath.ToSlash(target))
		case 0:
			c.file(n, p)
		}
		return c.err
	})
	if c.err == nil {
		c.err = err
	}
}

// close ends the archive.
func (c *cpio) close() error {
	c.entry("TRAILER!!!", 0, 0, nil, 0, 0)
	return c.err
}
