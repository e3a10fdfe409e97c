package collect

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
)

// words shows events as short texts.
func words(list []event.Event) []string {
	var out []string
	for _, e := range list {
		s := e.Kind.String()
		if !e.Process.IsZero() {
			s += strings.Replace(e.Process.String(), "abcdef01-", " ", 1)
		}
		switch {
		case e.Kind == event.KindExec && e.Exec.Exe != "":
			s += " " + e.Exec.Exe
		case e.Kind == event.KindExit && e.Exit.Presumed:
			s += " presumed"
		}
		if e.Source == event.SourceSnapshot {
			s += " (snapshot)"
		}
		out = append(out, s)
	}
	return out
}

func TestMerge(t *testing.T) {
	none := event.ProcessKey{}
	a, b, c, again := key(2, 20), key(3, 30), key(4, 40), key(2, 200) // again has a's pid
	early := key(9, 10)
	for _, test := range []struct {
		name             string
		before           []event.Event // told live, ahead of the snapshot
		rows, held       []event.Event
		live, news, late []string
		after            []string // what is handed on of held
	}{
		{
			name: "first look, parents first",
			rows: []event.Event{row(b, a, "/b"), row(a, early, "/a"), row(early, none, "/e")},
			live: []string{"exec 9-10 /e (snapshot)", "exec 2-20 /a (snapshot)", "exec 3-30 /b (snapshot)"},
			news: []string{"exec 9-10 /e (snapshot)", "exec 2-20 /a (snapshot)", "exec 3-30 /b (snapshot)"},
		},
		{
			name:   "nothing new",
			before: []event.Event{fork(a, none), exec(a, "/a")},
			rows:   []event.Event{row(a, none, "/a")},
			live:   []string{"exec 2-20 /a (snapshot)"},
		},
		{
			name:   "an exec was lost",
			before: []event.Event{fork(a, none), exec(a, "/a")},
			rows:   []event.Event{row(a, none, "/b")},
			live:   []string{"exec 2-20 /b (snapshot)"},
			news:   []string{"exec 2-20 /b (snapshot)"},
		},
		{
			name:   "a row that could not be read in full changes nothing",
			before: []event.Event{fork(a, none), exec(a, "/a")},
			rows:   []event.Event{*bare(&event.Event{Process: a})},
			live:   []string{"exec 2-20 (snapshot)"},
		},
		{
			name:   "an exit was lost",
			before: []event.Event{fork(a, none), fork(b, none)},
			rows:   []event.Event{row(b, none, "/b")},
			live:   []string{"exec 3-30 /b (snapshot)"},
			news:   []string{"exec 3-30 /b (snapshot)", "exit 2-20 presumed (snapshot)"},
		},
		{
			name:   "a row read before an exit that is told already",
			before: []event.Event{fork(a, none), exit(a)},
			rows:   []event.Event{row(a, none, "/a")},
		},
		{
			name:  "born meanwhile",
			rows:  []event.Event{row(a, none, "/a")},
			held:  []event.Event{fork(a, none)},
			late:  []string{"exec 2-20 /a (snapshot)"},
			after: []string{"fork 2-20"},
		},
		{
			name:  "born and executed meanwhile",
			rows:  []event.Event{row(a, none, "/half")},
			held:  []event.Event{fork(a, none), exec(a, "/a")},
			after: []string{"fork 2-20", "exec 2-20 /a"},
		},
		{
			name:  "executed meanwhile: the row may show the half of each",
			rows:  []event.Event{row(a, none, "/half")},
			held:  []event.Event{exec(a, "/a")},
			live:  []string{"exec 2-20 (snapshot)"},
			news:  []string{"exec 2-20 (snapshot)"},
			after: []string{"exec 2-20 /a"},
		},
		{
			name:   "ended before its row was read",
			before: []event.Event{fork(a, none)},
			held:   []event.Event{exit(a)},
			live:   []string{"exec 2-20 (snapshot)"},
			after:  []string{"exit 2-20"},
		},
		{
			name:   "executed and gone: its exit may be lost, but it lives at this point",
			before: []event.Event{fork(a, none)},
			held:   []event.Event{exec(a, "/a")},
			live:   []string{"exec 2-20 (snapshot)"},
			after:  []string{"exec 2-20 /a"},
		},
		{
			name:  "there before anybody looked, and ended before its row was read",
			held:  []event.Event{exit(a)},
			live:  []string{"exec 2-20 (snapshot)"},
			news:  []string{"exec 2-20 (snapshot)"},
			after: []string{"exit 2-20"},
		},
		{
			name:  "the same with an exec, which is not told behind its end",
			held:  []event.Event{exec(a, "/a"), exit(a), exec(b, "/b")},
			live:  []string{"exec 2-20 (snapshot)", "exec 3-30 (snapshot)"},
			news:  []string{"exec 2-20 (snapshot)", "exec 3-30 (snapshot)"},
			after: []string{"exec 2-20 /a", "exit 2-20", "exec 3-30 /b"},
		},
		{
			name:  "the same with two that had one pid, the fork of the second lost",
			held:  []event.Event{exit(a), gap(event.KindFork, 1), exit(again)},
			live:  []string{"exec 2-20 (snapshot)"},
			news:  []string{"exec 2-20 (snapshot)"},
			after: []string{"exit 2-20", "gap", "exit 2-200"},
		},
		{
			name:  "the same, the row of the first read and its exit lost",
			rows:  []event.Event{row(a, none, "/a")},
			held:  []event.Event{gap(0, 2), exit(again)},
			live:  []string{"exec 2-20 /a (snapshot)"},
			news:  []string{"exec 2-20 /a (snapshot)"},
			after: []string{"gap", "exit 2-20 presumed (snapshot)", "exit 2-200"},
		},
		{
			name:  "the same, the first born meanwhile",
			held:  []event.Event{fork(a, none), gap(0, 2), exec(again, "/a")},
			after: []string{"fork 2-20", "gap", "exit 2-20 presumed (snapshot)", "exec 2-200 /a"},
		},
		{
			name:  "born, ended and looked up by somebody else meanwhile",
			held:  []event.Event{fork(a, none), exit(a), row(b, none, "/b")},
			after: []string{"fork 2-20", "exit 2-20", "exec 3-30 /b (snapshot)"},
		},
		{
			name:  "ended behind its row",
			rows:  []event.Event{row(a, none, "/a")},
			held:  []event.Event{exit(a), exit(a)},
			live:  []string{"exec 2-20 /a (snapshot)"},
			news:  []string{"exec 2-20 /a (snapshot)"},
			after: []string{"exit 2-20"},
		},
		{
			name:   "pid used again, both told",
			before: []event.Event{fork(a, none)},
			rows:   []event.Event{row(again, none, "/a")},
			held:   []event.Event{exit(a), fork(again, none)},
			live:   []string{"exec 2-20 (snapshot)"},
			late:   []string{"exec 2-200 /a (snapshot)"},
			after:  []string{"exit 2-20", "fork 2-200"},
		},
		{
			name:   "pid used again, exit lost",
			before: []event.Event{fork(a, none)},
			rows:   []event.Event{row(again, none, "/a")},
			live:   []string{"exec 2-200 /a (snapshot)"},
			news:   []string{"exit 2-20 presumed (snapshot)", "exec 2-200 /a (snapshot)"},
		},
		{
			name:   "pid used again, fork lost: the older one lives at this point",
			before: []event.Event{fork(a, none)},
			rows:   []event.Event{row(again, none, "/a")},
			held:   []event.Event{exit(a), gap(event.KindFork, 1)},
			live:   []string{"exec 2-20 (snapshot)"},
			after:  []string{"exit 2-20", "gap"},
		},
		{
			name:   "born before, and told once more meanwhile",
			before: []event.Event{fork(a, none)},
			rows:   []event.Event{row(a, none, "/a"), row(b, a, "/b")},
			held:   []event.Event{fork(a, none), fork(b, a)},
			live:   []string{"exec 2-20 /a (snapshot)"},
			news:   []string{"exec 2-20 /a (snapshot)"},
			late:   []string{"exec 3-30 /b (snapshot)"},
			after:  []string{"fork 3-30"},
		},
		{
			name:   "the end of the one before told once more meanwhile",
			before: []event.Event{fork(a, none), exit(a), fork(again, none)},
			rows:   []event.Event{row(again, none, "/a")},
			held:   []event.Event{exit(a)},
			live:   []string{"exec 2-200 /a (snapshot)"},
			news:   []string{"exec 2-200 /a (snapshot)"},
		},
		{
			name:   "the same, the fork of this one lost",
			before: []event.Event{fork(a, none), exit(a)},
			rows:   []event.Event{row(again, none, "/a")},
			held:   []event.Event{exit(a), gap(event.KindFork, 1)},
			live:   []string{"exec 2-200 /a (snapshot)"},
			news:   []string{"exec 2-200 /a (snapshot)"},
			after:  []string{"gap"},
		},
		{
			name:   "the birth of the one before told once more, its end and the fork of this one lost",
			before: []event.Event{fork(a, none)},
			rows:   []event.Event{row(again, none, "/a")},
			held:   []event.Event{fork(a, none)},
			live:   []string{"exec 2-200 /a (snapshot)"},
			news:   []string{"exit 2-20 presumed (snapshot)", "exec 2-200 /a (snapshot)"},
		},
		{
			name:  "a failed exec says nothing of who lives",
			rows:  []event.Event{row(a, none, "/a")},
			held:  []event.Event{{Kind: event.KindExecFailed, Process: a}, fork(c, a)},
			live:  []string{"exec 2-20 /a (snapshot)"},
			news:  []string{"exec 2-20 /a (snapshot)"},
			after: []string{"exec_failed 2-20", "fork 4-40"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			tab := newTable()
			for i := range test.before {
				tab.apply(nil, &test.before[i])
			}
			live, news, late := tab.merge(test.rows, [][]event.Event{test.held}, 7)
			var after []event.Event
			for i := range test.held {
				after = tab.apply(after, &test.held[i])
			}
			for what, pair := range map[string][2][]string{
				"live": {test.live, words(live)}, "news": {test.news, words(news)},
				"late": {test.late, words(late)}, "after": {test.after, words(after)},
			} {
				if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
		})
	}
}

func TestCatchUp(t *testing.T) {
	a, b, c := key(2, 20), key(3, 30), key(4, 40)
	tab := newTable()
	for _, e := range []event.Event{fork(a, initKey), fork(b, initKey), exec(b, "/b"), fork(c, initKey), exit(c)} {
		tab.apply(nil, &e)
	}
	late := []event.Event{row(a, initKey, "/a"), row(b, initKey, "/b"), row(c, initKey, "/c"), row(key(5, 50), initKey, "/forgotten")}
	if diff := cmp.Diff([]string{"exec 2-20 /a (snapshot)"}, words(tab.catchUp(late))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Polling finds a process that a snapshot found between two of its looks once
// more, and must not make a second exec of it. Whatever else it finds is one.
func TestPolledBehindSnapshot(t *testing.T) {
	a := key(2, 20)
	polled := func(exe string, inode uint64) event.Event {
		e := row(a, initKey, exe)
		e.Source = event.SourcePoll
		e.Exec.Inode, e.Known = inode, e.Known|event.KnownFile
		return e
	}
	found := func(exe string, inode uint64) event.Event {
		e := polled(exe, inode)
		e.Source = event.SourceSnapshot
		return e
	}
	unread := polled("", 0)
	unread.Known = event.KnownParent
	for name, steps := range map[string][]struct {
		e    event.Event
		row  bool // of a snapshot
		want int
	}{
		"found by a snapshot":            {{found("/a", 1), true, 1}, {polled("/a", 1), false, 0}, {polled("/a", 1), false, 1}},
		"its exec was":                   {{polled("/b", 1), false, 1}, {found("/a", 1), true, 1}, {polled("/a", 1), false, 0}, {polled("/a", 1), false, 1}},
		"again and again":                {{found("/a", 1), true, 1}, {found("/a", 1), true, 0}, {polled("/a", 1), false, 0}, {polled("/a", 1), false, 1}},
		"found by polling":               {{polled("/a", 1), false, 1}, {found("/a", 1), true, 0}, {polled("/a", 1), false, 1}, {polled("/a", 1), false, 1}},
		"both looked when they began":    {{found("/a", 1), true, 1}, {found("/a", 1), false, 0}, {polled("/a", 1), false, 1}},
		"another program since":          {{found("/a", 1), true, 1}, {polled("/b", 2), false, 1}, {polled("/a", 1), false, 1}},
		"another file at the same place": {{found("/a", 1), true, 1}, {polled("/a", 2), false, 1}},
		"it cannot be told which":        {{found("/a", 1), true, 1}, {unread, false, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			tab := newTable()
			for i, step := range steps {
				var out []event.Event
				if step.row {
					_, out, _ = tab.merge([]event.Event{step.e}, nil, 0)
				} else {
					out = tab.apply(nil, &step.e)
				}
				if len(out) != step.want {
					t.Errorf("step %d: handed on %q, want %d", i, words(out), step.want)
				}
			}
		})
	}
}

// What a snapshot shows of a process that is known is news only if that is another
// exec: not a new title, but a replaced file, and the same program once more.
func TestFoundAgain(t *testing.T) {
	const random, other, fixed = 0x1235, 0x1237, 0x1234
	maker, child := key(2, 20), key(3, 30)
	with := func(e event.Event, args string, layout, dev, inode uint64) event.Event {
		e.Exec.Args, e.Exec.Layout, e.Exec.Dev, e.Exec.Inode = args, layout, dev, inode
		e.Known |= event.KnownFile
		return e
	}
	known := func(layout uint64) event.Event { return with(exec(maker, "/a"), "a\x00", layout, 1, 5) }
	found := func(args string, layout, inode uint64) event.Event {
		return with(row(maker, initKey, "/a"), args, layout, 2, inode) // eBPF has another name for the device
	}
	unread := func(layout, inode uint64) event.Event {
		e := found("", layout, inode)
		e.Known &^= event.KnownArgs
		return e
	}
	untold := known(random)
	untold.Known &^= event.KnownExe | event.KnownArgs
	for name, c := range map[string]struct {
		known, row event.Event
		want       int
	}{
		"as known":                        {known(random), found("a\x00", random, 5), 0},
		"a new title":                     {known(random), found("title", random, 5), 0},
		"no arguments any more":           {known(random), unread(random, 5), 0},
		"the same once more":              {known(random), found("a\x00", other, 5), 1},
		"the same, and no arguments":      {known(random), unread(other, 5), 1},
		"half way through an exec":        {known(random), unread(0, 6), 0},
		"a forged layout":                 {known(random), found("a\x00", random, 6), 1},
		"hidden":                          {known(random), found("a\x00", 0, 5), 0},
		"hidden, other arguments":         {known(random), found("b\x00", 0, 5), 1},
		"hidden, a replaced file":         {known(random), found("a\x00", 0, 6), 1},
		"fixed":                           {known(fixed), found("a\x00", fixed, 5), 0},
		"fixed, other arguments":          {known(fixed), found("b\x00", fixed, 5), 1},
		"fixed, a replaced file":          {known(fixed), found("a\x00", fixed, 6), 1},
		"random no more":                  {known(random), found("a\x00", fixed, 5), 1},
		"it was not told what it runs":    {untold, found("a\x00", random, 5), 1},
		"nothing of it could be read yet": {event.Event{Kind: event.KindExec, Process: maker, Exec: &event.Exec{}}, found("a\x00", random, 5), 1},
	} {
		tab := newTable()
		born := fork(child, maker)
		tab.apply(tab.apply(nil, &c.known), &born)
		mine, its := c.row, c.row
		its.Process, its.Parent = child, maker
		if _, news, _ := tab.merge([]event.Event{mine, its}, nil, 0); len(news) != 2*c.want {
			t.Errorf("%s: told %q of it and its child, want %d of each", name, words(news), c.want)
		}
		if _, news, _ := tab.merge([]event.Event{mine, its}, nil, 0); len(news) != 0 {
			t.Errorf("%s: told again: %q", name, words(news))
		}
	}
}

// A process that its parent did not make runs what its maker runs.
func TestForkByMaker(t *testing.T) {
	parent, maker, child, orphan := key(2, 20), key(3, 30), key(4, 40), key(5, 50)
	by := func(k, maker event.ProcessKey) *event.Event {
		e := fork(k, parent)
		e.Known, e.Fork = e.Known|event.KnownMaker, &event.Fork{Maker: maker}
		return &e
	}
	tab := newTable()
	for _, e := range []event.Event{fork(parent, event.ProcessKey{}), exec(parent, "/a"), fork(maker, parent), exec(maker, "/b"), *by(child, maker), *by(orphan, key(9, 90))} {
		tab.apply(nil, &e)
	}
	if tab.procs[child].image != tab.procs[maker].image || tab.procs[child].parent != parent || tab.procs[orphan].image != (image{}) {
		t.Errorf("child %+v, maker %+v, made by nobody known %+v", tab.procs[child], tab.procs[maker], tab.procs[orphan])
	}
}

// A process that the snapshot could not see has not ended.
func TestHidden(t *testing.T) {
	a, b, c, again := key(2, 20), key(3, 30), key(4, 40), key(4, 41)
	tab := newTable()
	tab.hidden = func(pid int) bool { return pid != 3 }
	for _, e := range []event.Event{fork(a, initKey), exec(a, "/a"), fork(b, initKey), fork(c, initKey), fork(again, initKey)} {
		tab.apply(nil, &e)
	}
	for range 2 {
		live, news, _ := tab.merge(nil, nil, 0)
		want := map[string]bool{"exec 2-20 (snapshot)": true, "exec 4-41 (snapshot)": true}
		for _, w := range words(live) {
			if !want[w] {
				t.Errorf("lives: %s", w)
			}
			delete(want, w)
		}
		if len(want) > 0 {
			t.Errorf("does not live: %v", want)
		}
		for _, w := range words(news) {
			if w != "exit 3-30 presumed (snapshot)" {
				t.Errorf("news: %s", w)
			}
		}
	}
	if tab.live != 2 || !tab.procs[b].ended {
		t.Errorf("%d live", tab.live)
	}
}

func TestPIDUsedAgain(t *testing.T) {
	old, young := key(2, 20), key(2, 200)
	for _, first := range []event.Event{fork(young, initKey), exec(young, "/y"), exit(young)} {
		tab := newTable()
		e := fork(old, initKey)
		tab.apply(nil, &e)
		first.Time = 99
		out := tab.apply(nil, &first)
		if len(out) != 2 || out[0].Kind != event.KindExit || !out[0].Exit.Presumed || out[0].Process != old || out[0].Time != 99 {
			t.Errorf("%s of the young: %q", first.Kind, words(out))
		}
		// The true exit comes too late to count.
		e = exit(old)
		if out := tab.apply(nil, &e); len(out) != 0 || tab.duplicates != 1 {
			t.Errorf("late exit of the old: %q, %d duplicates", words(out), tab.duplicates)
		}
	}
	// An old process that is told behind the young one must not end it.
	tab := newTable()
	for _, e := range []event.Event{fork(young, initKey), exit(old)} {
		if out := tab.apply(nil, &e); len(out) != 1 {
			t.Errorf("%q", words(out))
		}
	}
	if tab.live != 1 || tab.byPID[2] != young {
		t.Errorf("%d live, pid 2 is %s", tab.live, tab.byPID[2])
	}
}

// Two processes can have one key: the second cannot be told, but that it is missing
// can, where the exact start shows it.
func TestPIDUsedAgainInOneTick(t *testing.T) {
	a := key(2, 20)
	from := func(ns uint64, e event.Event) event.Event {
		e.Known |= event.KnownStart
		e.StartNS, e.Time = 20*event.TickNS+ns, int64(ns)
		return e
	}
	found := row(a, initKey, "/a")
	for _, test := range []struct {
		name   string
		events []event.Event
		want   []string
		gaps   []event.Kind
		twice  uint64
	}{
		{
			"both witnessed",
			[]event.Event{
				from(0, fork(a, initKey)), from(0, exec(a, "/a")), from(0, exit(a)),
				from(5, fork(a, initKey)), from(5, exec(a, "/b")), from(5, exit(a)),
			},
			[]string{"fork 2-20", "exec 2-20 /a", "exit 2-20", "gap", "gap", "gap"},
			[]event.Kind{event.KindFork, event.KindExec, event.KindExit}, 0,
		},
		{
			"the first was found running and did an exec",
			[]event.Event{found, from(0, exec(a, "/b")), from(0, exit(a)), from(9_999_999, fork(a, initKey))},
			[]string{"exec 2-20 /a (snapshot)", "exec 2-20 /b", "exit 2-20", "gap"}, []event.Kind{event.KindFork}, 0,
		},
		{
			"only its exit told",
			[]event.Event{from(0, exit(a)), from(5, exec(a, "/b"))},
			[]string{"exit 2-20", "gap"}, []event.Kind{event.KindExec}, 0,
		},
		{
			"one process, told twice",
			[]event.Event{from(5, fork(a, initKey)), from(5, exit(a)), from(5, fork(a, initKey)), from(5, exit(a)), found},
			[]string{"fork 2-20", "exit 2-20"}, nil, 2,
		},
		{
			"the start of the first not known",
			[]event.Event{fork(a, initKey), exit(a), from(5, fork(a, initKey))},
			[]string{"fork 2-20", "exit 2-20"}, nil, 1,
		},
		{
			"the start of the second not known",
			[]event.Event{from(5, fork(a, initKey)), from(5, exit(a)), exit(a)},
			[]string{"fork 2-20", "exit 2-20"}, nil, 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			tab := newTable()
			var out []event.Event
			for i := range test.events {
				out = tab.apply(out, &test.events[i])
			}
			if diff := cmp.Diff(test.want, words(out)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var gaps []event.Kind
			for _, e := range out {
				if e.Kind == event.KindGap {
					gaps = append(gaps, e.Gap.Of)
					if e.Time != e.Gap.Until || e.Time != test.events[len(test.events)-1].Time || e.Known.Has(event.KnownLost) || e.Source != event.SourceEBPF {
						t.Errorf("%+v, %+v", e, e.Gap)
					}
				}
			}
			if diff := cmp.Diff(test.gaps, gaps); diff != "" {
				t.Errorf("gaps (-want +got):\n%s", diff)
			}
			if tab.duplicates != test.twice || tab.live != 0 {
				t.Errorf("%d told twice, %d live", tab.duplicates, tab.live)
			}
		})
	}
}

// Ended processes are remembered for a while, but neither for long nor in any
// number.
func TestTombstones(t *testing.T) {
	tab := newTable()
	end := func(pid uint32, at int64) {
		e := exit(key(pid, uint64(pid)))
		e.Time = at
		tab.apply(nil, &e)
	}
	end(1, 0)
	end(2, int64(tombstoneTime))
	if len(tab.procs) != 2 {
		t.Errorf("%d remembered, want 2", len(tab.procs))
	}
	end(3, int64(tombstoneTime)+1)
	if len(tab.procs) != 2 || len(tab.byPID) != 2 || tab.procs[key(1, 1)] != nil {
		t.Errorf("%d remembered under %d pids, want 2: the first is too old", len(tab.procs), len(tab.byPID))
	}
	for pid := range uint32(2 * tombstonesMax) {
		end(pid+10, 2*int64(tombstoneTime))
	}
	if len(tab.procs) != tombstonesMax || len(tab.byPID) != tombstonesMax || len(tab.ended) != tombstonesMax || tab.live != 0 {
		t.Errorf("%d processes, %d pids, %d tombstones, %d live; want %d and none live", len(tab.procs), len(tab.byPID), len(tab.ended), tab.live, tombstonesMax)
	}
	// A pid that is in use again is not forgotten with its old process.
	tab = newTable()
	for _, e := range []event.Event{exit(key(5, 50)), fork(key(5, 51), initKey)} {
		tab.apply(nil, &e)
	}
	end(6, 3*int64(tombstoneTime))
	if tab.byPID[5] != key(5, 51) || tab.procs[key(5, 50)] != nil {
		t.Errorf("pid 5 is %v", tab.byPID[5])
	}
}

func BenchmarkApply(b *testing.B) {
	tab := newTable()
	var out []event.Event
	n := uint64(0)
	for b.Loop() {
		n++
		k := key(uint32(n%30000)+2, n)
		for _, e := range [...]event.Event{fork(k, initKey), exec(k, "/bin/true"), exit(k)} {
			e.Time = int64(n) * 1_000_000
			out = tab.apply(out[:0], &e)
		}
	}
	b.ReportAllocs()
}
