package main

import "syscall"

// childAttr puts procmond into a process group of its own, so that a Ctrl-C in
// the console reaches us alone.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// terminate ends the connection, at whose end the child ends. Windows has no
// signal that asks for less.
// BUG(windows): what is still in the child then is lost.
func (c *child) terminate() { _ = c.Close() }
