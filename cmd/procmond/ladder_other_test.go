//go:build !linux

package main

// withoutBPF is for Linux alone.
func withoutBPF() {}
