// Procmond is the privileged collector: it reads process events from the
// kernel and hands them to its one client, sentineld, or prints them.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"github.com/sentineld/sentineld/internal/cli"
)

type commands struct {
	cli.Logging

	Run       runCmd       `cmd:"" help:"Collect events and serve them to sentineld, or print them."`
	SelfCheck selfCheckCmd `cmd:"" help:"Tell what this system offers and which source would run."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

func main() {
	enterHostCgroups()
	cli.CatchBrokenPipes()
	os.Exit(cli.Main("procmond", os.Stderr, run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)))
}

// run is the whole program but for the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var c commands
	k, done, err := cli.Parse(&c, args, stdout, stderr,
		kong.Name("procmond"), kong.Description("Collects process events for SentinelD."),
		kong.Vars{"socket": filepath.FromSlash(defaultSocket)})
	if err != nil || done {
		return err
	}
	k.Bind(c.Logger(stderr))
	k.BindTo(ctx, (*context.Context)(nil))
	k.Bind(streams{stdin, stdout, stderr})
	return k.Run()
}

type streams struct {
	in       io.Reader
	out, err io.Writer
}

type versionCmd struct{}

func (versionCmd) Run(s streams) error {
	_, err := fmt.Fprintln(s.out, "procmond", cli.ThisBuild())
	return err
}
