package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/source/poll"
)

type selfCheckCmd struct {
	sourceFlags `embed:""`

	Verbose bool `short:"v" help:"Print the System Diagnostics: kernel, BTF, capabilities, every source."`
}

// fact is one line of the diagnostics. ok is nil for what is neither good nor
// bad.
type fact struct {
	name, value string
	ok          *bool
}

func (f fact) print(w io.Writer) {
	mark := " "
	if f.ok != nil {
		mark = map[bool]string{true: "✓", false: "✗"}[*f.ok]
	}
	fmt.Fprintf(w, "  %s %-15s %s\n", mark, f.name, f.value)
}

// Run opens every source as `procmond run` would and closes it again, so what
// it says was tried, not guessed. Exit code 3: a better source exists but
// cannot be used; 1: none can.
func (s *selfCheckCmd) Run(ctx context.Context, std streams) error {
	type tried struct {
		name, detail string
		err          error
	}
	boot, err := poll.HostBootID(ctx)
	if err != nil {
		return err
	}
	o := s.options(boot, nil)
	var all []tried
	best := -1
	for i, c := range s.candidates() {
		src, err := c.Open(ctx, o)
		t := tried{name: c.Name.String(), err: err}
		if err == nil {
			t.detail = detail(src)
			_ = src.Close()
			for range src.Events() {
			}
			if best < 0 {
				best = i
			}
		}
		all = append(all, t)
	}

	if s.Verbose {
		fmt.Fprintln(std.out, "System Diagnostics")
		fact{name: "platform", value: runtime.GOOS + "/" + runtime.GOARCH}.print(std.out)
		fact{name: "boot id", value: boot.String()}.print(std.out)
		for _, f := range systemFacts() {
			f.print(std.out)
		}
		fmt.Fprintln(std.out, "Sources, best first")
		for i, t := range all {
			ok := t.err == nil
			value := "usable"
			switch {
			case t.err != nil:
				value = t.err.Error()
			case i == best:
				value = "would run"
			}
			if t.detail != "" {
				value += " (" + t.detail + ")"
			}
			fact{t.name, value, &ok}.print(std.out)
		}
	}
	switch {
	case best < 0:
		var why []string
		for _, t := range all {
			why = append(why, t.name+": "+t.err.Error())
		}
		return fmt.Errorf("no source can be used: %s", strings.Join(why, "; "))
	case !s.Verbose:
		fmt.Fprintf(std.out, "%s would run", all[best].name)
		if all[best].detail != "" {
			fmt.Fprintf(std.out, " (%s)", all[best].detail)
		}
		fmt.Fprintln(std.out)
		for _, t := range all[:best] {
			fmt.Fprintf(std.out, "%s would not: %v\n", t.name, t.err)
		}
	}
	if best > 0 {
		return cli.ErrIncomplete
	}
	return nil
}
