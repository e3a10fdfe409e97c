//go:build unix

package main

import "syscall"

// childAttr puts procmond into a process group of its own, so that a Ctrl-C on
// the terminal reaches us alone and events are drained in order.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// terminate asks the child to drain and end.
func (c *child) terminate() { _ = c.cmd.Process.Signal(syscall.SIGTERM) }
