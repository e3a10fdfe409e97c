// Sentineld records what procmond collects, evaluates rules over it, and answers
// what people ask.
package main

import (
	"context"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/config"
)

type commands struct {
	Config    string `help:"Read this configuration instead of the default files." placeholder:"FILE" env:"SENTINELD_CONFIG"`
	DataDir   string `help:"Directory of the store (default ${data_dir})." placeholder:"DIR"`
	LogLevel  string `help:"Least level that is logged: debug, info, warn or error." placeholder:"LEVEL"`
	LogFormat string `help:"Form of the log on stderr: text or json." placeholder:"FORMAT"`

	Run     runCmd     `cmd:"" help:"Record this host, evaluate rules, print alerts."`
	Status  statusCmd  `cmd:"" help:"Tell how the agent is and what it has recorded."`
	Query   queryCmd   `cmd:"" help:"Run an SQL query over the record."`
	Tail    tailCmd    `cmd:"" help:"Print the newest events, and follow them."`
	Rules   rulesCmd   `cmd:"" help:"List and check detection rules."`
	Alerts  alertsCmd  `cmd:"" help:"List alerts."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

func main() {
	cli.CatchBrokenPipes()
	os.Exit(cli.Main("sentineld", os.Stderr, run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)))
}

// run is the whole program but for the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var c commands
	k, done, err := cli.Parse(&c, args, stdout, stderr,
		kong.Name("sentineld"), kong.Description("Records every process of a host and finds the bad ones."),
		kong.Vars{"data_dir": config.Default().DataDir, "socket": config.Default().Collector.Socket})
	if err != nil || done {
		return err
	}
	flags := map[string]string{}
	c.global(flags)
	if f, ok := k.Selected().Target.Addr().Interface().(interface{ flags(map[string]string) }); ok {
		f.flags(flags)
	}
	loaded, err := config.Load(config.Layers{File: c.Config, Env: os.Environ(), Flags: flags})
	if err != nil && k.Command() != "version" { // which is asked when something is wrong
		return cli.Usage(err)
	}
	k.Bind(&loaded, &loaded.Config)
	k.Bind(streams{stdin, stdout, stderr})
	k.Bind(cli.Logging{LogLevel: loaded.Log.Level, LogFormat: loaded.Log.Format}.Logger(stderr))
	k.BindTo(ctx, (*context.Context)(nil))
	return k.Run()
}

// global puts the global flags that were given under their options.
func (c *commands) global(flags map[string]string) {
	given(flags, "data_dir", c.DataDir)
	given(flags, "log.level", c.LogLevel)
	given(flags, "log.format", c.LogFormat)
}

func given(flags map[string]string, path, value string) {
	if value != "" {
		flags[path] = value
	}
}

type streams struct {
	in       io.Reader
	out, err io.Writer
}
