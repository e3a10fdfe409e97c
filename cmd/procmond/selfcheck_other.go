//go:build !linux

package main

func systemFacts() []fact { return nil }
