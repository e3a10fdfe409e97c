package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/config"
	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/rule"
	"github.com/sentineld/sentineld/internal/store"
)

type rulesCmd struct {
	List     rulesListCmd     `cmd:"" help:"List the rules that would run."`
	Validate rulesValidateCmd `cmd:"" help:"Check rule files: their form, and their SQL against the views."`
}

// loadRules reads the configured rules. A rule of the user's replaces the
// built-in one of the same id.
func loadRules(c *config.Config) (rules []rule.Rule, problems []error) {
	own := map[string]string{}
	for _, dir := range c.Rules.Dirs {
		more, errs := rule.LoadDir(dir)
		problems = append(problems, errs...)
		for _, r := range more {
			if file, ok := own[r.ID]; ok {
				problems = append(problems, fmt.Errorf("%s: the id %s is taken by %s (an id names one rule)", r.File, r.ID, file))
				continue
			}
			own[r.ID] = r.File
			rules = append(rules, r)
		}
	}
	if c.Rules.Defaults {
		for _, r := range rule.Defaults() {
			if _, ok := own[r.ID]; !ok {
				rules = append(rules, r)
			}
		}
	}
	return rules, problems
}

type rulesListCmd struct {
	Output string   `short:"o" help:"table, json or csv (default: table on a terminal, else json)." enum:",table,json,csv" default:""`
	Rules  []string `help:"Directory of rules, beside the built-in ones." placeholder:"DIR" sep:"none"`
}

func (r *rulesListCmd) flags(m map[string]string) { given(m, "rules.dirs", strings.Join(r.Rules, ",")) }

func (r *rulesListCmd) Run(c *config.Config, std streams) error {
	rules, problems := loadRules(c)
	out := newOutput(std.out, r.Output, []string{"id", "severity", "title", "tags", "window", "enabled", "version", "file"})
	for i := range rules {
		x := &rules[i]
		window := any(nil)
		if x.Window > 0 {
			window = x.Window.String()
		}
		tags := strings.Join(x.Tags, " ")
		if out.mode == "json" {
			tags = string(event.AppendJSONStrings(nil, x.Tags))
		}
		if err := out.row(x.ID, x.Severity.String(), x.Title, tags, window, !x.Disabled, x.Version, x.File); err != nil {
			return err
		}
	}
	if err := out.close(); err != nil {
		return err
	}
	return cli.Usage(errors.Join(problems...))
}

type rulesValidateCmd struct {
	Paths []string `arg:"" optional:"" help:"Rule files and directories (default: the rules that would run)." placeholder:"PATH"`
	Rules []string `help:"Directory of rules, beside the built-in ones." placeholder:"DIR" sep:"none"`
}

func (r *rulesValidateCmd) flags(m map[string]string) {
	given(m, "rules.dirs", strings.Join(r.Rules, ","))
}

// Run tells of every problem, not only of the first.
func (r *rulesValidateCmd) Run(ctx context.Context, c *config.Config, std streams) (err error) {
	rules, problems := loadRules(c)
	var beside []rule.Rule
	if len(r.Paths) > 0 {
		beside, rules, problems = rules, nil, nil
		for _, path := range r.Paths {
			more, errs := loadPath(path)
			rules, problems = append(rules, more...), append(problems, errs...)
		}
		beside = slices.DeleteFunc(beside, func(b rule.Rule) bool {
			return slices.ContainsFunc(rules, func(x rule.Rule) bool { return x.ID == b.ID })
		})
	}
	// A store that is thrown away has the same views as the real one, and is
	// there when no agent has ever run.
	dir, err := os.MkdirTemp("", "sentineld-validate-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	db, err := store.Open(ctx, store.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	open := func(ctx context.Context) (detect.Session, error) { return openDetectSession(ctx, dir) }
	wrong, err := detect.Validate(ctx, open, rules, beside)
	if err != nil {
		return err
	}
	problems = append(problems, wrong...)
	if len(problems) > 0 {
		return cli.Usage(errors.Join(problems...))
	}
	if len(rules) == 1 {
		_, err = fmt.Fprintln(std.out, "1 rule is valid")
	} else {
		_, err = fmt.Fprintf(std.out, "%d rules are valid\n", len(rules))
	}
	return err
}

func loadPath(path string) ([]rule.Rule, []error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, []error{err}
	}
	if st.IsDir() {
		return rule.LoadDir(path)
	}
	if st.Size() > rule.MaxFileBytes || !st.Mode().IsRegular() {
		return nil, []error{fmt.Errorf("%s: it is not a file of at most %d bytes", path, rule.MaxFileBytes)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, []error{err}
	}
	x, err := rule.Parse(path, data)
	if err != nil {
		return nil, []error{err}
	}
	return []rule.Rule{x}, nil
}
