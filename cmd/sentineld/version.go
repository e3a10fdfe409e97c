package main

import (
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/cli"
)

type versionCmd struct {
	Output string `short:"o" help:"text or json." enum:"text,json" default:"text"`
}

// Run prints what this program is made of.
func (v versionCmd) Run(std streams) error {
	b := cli.ThisBuild()
	if v.Output == "json" {
		out := newOutput(std.out, "json", []string{"version", "revision", "go", "platform", "sqlite"})
		if err := out.row(b.Version, b.Revision, b.Go, b.Platform, sqlite.Version); err != nil {
			return err
		}
		return out.close()
	}
	_, err := fmt.Fprintf(std.out, "sentineld %s sqlite %s\n", b, sqlite.Version)
	return err
}
