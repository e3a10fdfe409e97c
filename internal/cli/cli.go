// Package cli is what the command lines of both programs share: exit codes,
// parsing, logging and signals.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// The exit codes of both programs.
const (
	ExitDone       = 0
	ExitFailed     = 1
	ExitUsage      = 2 // wrong usage or invalid input
	ExitIncomplete = 3 // done, but the answer is incomplete
)

// ErrIncomplete is returned, or wrapped, by a command whose answer stands but
// does not cover everything. It prints nothing of its own.
var ErrIncomplete = errors.New("the answer is incomplete")

// usageError is invalid input.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// Usage marks err as the fault of what the user gave.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Usagef is Usage of a formatted error.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// ExitCode is the exit code for what a command returned.
func ExitCode(err error) int {
	var u usageError
	switch {
	case err == nil:
		return ExitDone
	case errors.Is(err, ErrIncomplete):
		return ExitIncomplete
	case errors.As(err, &u):
		return ExitUsage
	}
	return ExitFailed
}

// Main runs a program's run function and turns its error into a message on
// stderr and an exit code.
func Main(name string, stderr io.Writer, err error) int {
	if err != nil && !errors.Is(err, ErrIncomplete) {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
	}
	return ExitCode(err)
}

// Parse reads args into grammar. done means that there is nothing more to do
// (--help). Errors are usage errors.
func Parse(grammar any, args []string, stdout, stderr io.Writer, options ...kong.Option) (kctx *kong.Context, done bool, err error) {
	options = append(options, kong.Writers(stdout, stderr), kong.Exit(func(int) { done = true }), kong.UsageOnError())
	parser, err := kong.New(grammar, options...)
	if err != nil {
		return nil, false, err
	}
	kctx, err = parser.Parse(args)
	if done {
		return nil, true, nil
	}
	if err != nil {
		var p *kong.ParseError
		if errors.As(err, &p) && p.Context != nil && p.Context.Command() != "" {
			return nil, false, Usagef("%w (see %s %s --help)", err, parser.Model.Name, p.Context.Command())
		}
		return nil, false, Usagef("%w (see %s --help)", err, parser.Model.Name)
	}
	return kctx, false, nil
}

// Logging is the global flags for the log.
type Logging struct {
	LogLevel  string `help:"Least level that is logged: debug, info, warn or error." enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL"`
	LogFormat string `help:"Form of the log on stderr: text or json." enum:"text,json" default:"text" placeholder:"FORMAT"`
}

// Logger makes the log that the flags ask for.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.LogLevel)) // one of the enum
	o := &slog.HandlerOptions{Level: level}
	if l.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// CatchBrokenPipes makes a write to a pipe that nobody reads give an error, which
// each command judges, instead of the signal that ends the program: an agent
// must not die with whoever read its alerts.
func CatchBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// sameSignal is how long after the first signal another one is the same request:
// timeout(1) and some supervisors signal the process and then its group.
const sameSignal = 300 * time.Millisecond

// Signals gives two contexts: drain ends with the first SIGINT or SIGTERM (or
// parent), abort with the second. stop gives the signals back.
func Signals(parent context.Context) (drain, abort context.Context, stop func()) {
	abort, cancelAbort := context.WithCancel(context.WithoutCancel(parent))
	drain, cancelDrain := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			cancelDrain()
		case <-abort.Done():
			return
		}
		for first := time.Now(); ; {
			select {
			case <-signals:
				if time.Since(first) < sameSignal {
					continue
				}
				cancelAbort()
			case <-abort.Done():
			}
			return
		}
	}()
	return drain, abort, func() {
		signal.Stop(signals)
		cancelAbort()
		cancelDrain()
	}
}
