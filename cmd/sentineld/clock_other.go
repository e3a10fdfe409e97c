//go:build !linux

package main

// bootTime is not known: starts on these platforms are wall clock already.
func bootTime() int64 { return 0 }
