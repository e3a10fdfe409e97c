//go:build !linux

package main

import (
	"errors"
	"fmt"
	"os"
)

// guest is a Linux system's first process.
func guest() {
	fmt.Fprintln(os.Stderr, fmt.Errorf("be the guest: %w", errors.ErrUnsupported))
	os.Exit(1)
}
