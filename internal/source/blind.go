package source

import (
	"context"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// blindEvery is how often it is told that something is not seen.
const blindEvery = time.Minute

// Blind is what the source that is read at the moment never sees although it
// would be recorded, and why: by kind of event, "any" for all of them. Safe for
// concurrent use.
func (l *Ladder) Blind() map[string]string {
	s, _ := l.current()
	blind := map[string]string{}
	if b, ok := s.(interface{ Blind() string }); ok {
		blind["any"] = b.Blind()
	}
	if why := l.noFailures(s); why != "" {
		blind[event.KindExecFailed.String()] = why
	}
	return blind
}

// noFailures says that a source does not see the failed execs that are wanted; ""
// when it does.
func (l *Ladder) noFailures(s Source) string {
	if f, ok := s.(interface{ SeesFailures() bool }); !l.o.ExecFailures || ok && f.SeesFailures() {
		return ""
	}
	return "failed execs are not seen by " + s.Name().String()
}

// tellBlind hands on that failed execs were not seen since a time, Unix ns, and
// returns the time up to which it did. Everything else was seen: no new list is
// needed.
func (l *Ladder) tellBlind(ctx context.Context, s Source, since int64) int64 {
	why := l.noFailures(s)
	if why == "" {
		return since
	}
	now := time.Now().UnixNano()
	select {
	case l.events <- []event.Event{{
		Kind: event.KindGap, Source: s.Name(), Known: event.KnownTime, Time: min(since, now),
		Gap: &event.Gap{Until: max(since, now), Of: event.KindExecFailed, Healed: true, Cause: why},
	}}:
	case <-ctx.Done():
	}
	return now
}
