package source

import "github.com/sentineld/sentineld/internal/event"

// Blind is what the source that is read at the moment never sees although it
// would be recorded, and why: by kind of event, "any" for all of them. Safe for
// concurrent use.
func (l *Ladder) Blind() map[string]string {
	s, _ := l.current()
	blind := map[string]string{}
	if b, ok := s.(interface{ Blind() string }); ok {
		blind["any"] = b.Blind()
	}
	if f, ok := s.(interface{ SeesFailures() bool }); l.o.ExecFailures && !(ok && f.SeesFailures()) {
		blind[event.KindExecFailed.String()] = "failed execs are not seen by " + s.Name().String()
	}
	return blind
}
