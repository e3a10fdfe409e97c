package config

import (
	"os"
	"path/filepath"
	"runtime"
)

const defaultSocket = "/run/sentineld/procmond.sock"

// defaultDataDir is the system's for root, else the user's state directory.
func defaultDataDir() string {
	root := os.Geteuid() == 0
	switch runtime.GOOS {
	case "windows":
		return filepath.Join(os.Getenv("ProgramData"), "SentinelD")
	case "darwin":
		if root {
			return "/Library/Application Support/SentinelD"
		}
		home, _ := os.UserHomeDir() // "" gives a relative directory, which is somewhere at least
		return filepath.Join(home, "Library", "Application Support", "SentinelD")
	}
	if root {
		return "/var/lib/sentineld"
	}
	return StateDir()
}

// StateDir is where a user's programs keep what is no configuration (XDG Base
// Directory Specification).
func StateDir() string {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sentineld")
	}
	home, _ := os.UserHomeDir()
	return filepath.Join(home, ".local", "state", "sentineld")
}

// DefaultFiles are read in this order, where they are there.
func DefaultFiles() []string {
	var files []string
	if runtime.GOOS == "windows" {
		files = append(files, filepath.Join(os.Getenv("ProgramData"), "SentinelD", "config.yaml"))
	} else {
		files = append(files, "/etc/sentineld/config.yaml")
	}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "sentineld", "config.yaml"))
	}
	return files
}
