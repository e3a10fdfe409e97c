package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is the release, set by the linker (-X); "dev" for a build without.
var version = "dev"

// Build describes this binary.
type Build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // commit, "" when it was not stamped
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// ThisBuild reads what the linker and the go command left in the binary.
func ThisBuild() Build {
	b := Build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	return b
}

func (b Build) String() string {
	s := b.Version
	if b.Revision != "" {
		s += " (" + b.Revision[:min(12, len(b.Revision))] + ")"
	}
	return fmt.Sprintf("%s %s %s", s, b.Go, b.Platform)
}
