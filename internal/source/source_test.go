package source

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

type fake struct{ name event.Source }

func (f *fake) Name() event.Source           { return f.name }
func (f *fake) Events() <-chan []event.Event { return nil }
func (f *fake) Err() error                   { return nil }
func (f *fake) Close() error                 { return nil }

func usable(name event.Source) Candidate {
	return Candidate{name, func(context.Context, Options) (Source, error) { return &fake{name}, nil }}
}

func refusing(name event.Source, err error) Candidate {
	return Candidate{name, func(context.Context, Options) (Source, error) { return nil, err }}
}

func TestFirst(t *testing.T) {
	noBTF, noCap := errors.New("no BTF"), errors.New("no CAP")
	for _, test := range []struct {
		name       string
		candidates []Candidate
		want       event.Source // 0 = none
		refused    []string
		text       string
	}{
		{"the best", []Candidate{usable(event.SourceEBPF), usable(event.SourcePoll)}, event.SourceEBPF, nil, ""},
		{"the second", []Candidate{refusing(event.SourceEBPF, noBTF), usable(event.SourcePoll)}, event.SourcePoll, []string{"ebpf: no BTF"}, ""},
		{"none", []Candidate{refusing(event.SourceEBPF, noBTF), refusing(event.SourcePoll, noCap)}, 0,
			[]string{"ebpf: no BTF", "poll: no CAP"}, "open source: ebpf: no BTF; poll: no CAP"},
		{"nothing to try", nil, 0, nil, "open source: there is none to try"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, refused, err := First(t.Context(), Options{}, test.candidates)
			if (err == nil) != (test.text == "") || err != nil && err.Error() != test.text {
				t.Errorf("error %v, want %q", err, test.text)
			}
			if test.want != 0 && (s == nil || s.Name() != test.want) || test.want == 0 && s != nil {
				t.Errorf("source %v, want %s", s, test.want)
			}
			if len(refused) != len(test.refused) {
				t.Fatalf("refused %v, want %q", refused, test.refused)
			}
			for i, r := range refused {
				if r.String() != test.refused[i] {
					t.Errorf("refused %s, want %s", r, test.refused[i])
				}
			}
		})
	}
}

// An abort is not a refusal: the next candidate must not be tried.
func TestFirstAborted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	abort := Candidate{event.SourceEBPF, func(context.Context, Options) (Source, error) {
		cancel()
		return nil, errors.New("interrupted")
	}}
	if s, _, err := First(ctx, Options{}, []Candidate{abort, usable(event.SourcePoll)}); s != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("First = %v, %v", s, err)
	}
}

// The documented defaults, which First gives to every candidate.
func TestDefaults(t *testing.T) {
	var got Options
	look := Candidate{event.SourceEBPF, func(_ context.Context, o Options) (Source, error) {
		got = o
		return &fake{event.SourceEBPF}, nil
	}}
	if _, _, err := First(t.Context(), Options{}, []Candidate{look}); err != nil {
		t.Fatal(err)
	}
	if got.Log == nil || got.RingBytes != 8<<20 || got.ArgsMax != 64<<10 || got.FlushDelay != 50*time.Millisecond || got.PollInterval != time.Second {
		t.Errorf("defaults %+v", got)
	}
	set := Options{RingBytes: 4096, ArgsMax: 1024, FlushDelay: 1, PollInterval: 2, Log: slog.Default()}
	filled := set
	if filled.FillDefaults(); !reflect.DeepEqual(filled, set) {
		t.Errorf("%+v became %+v", set, filled)
	}
}
