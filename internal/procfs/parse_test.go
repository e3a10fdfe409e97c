package procfs

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
)

const bash = "R 4538 4540 3392 34816 4540 4194304 99 0 0 0 0 0 0 0 20 0 1 0 194585 3133440 382 18446744073709551615 " +
	"94580556496896 94580556516777 140734065358400 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 94580556532784 94580556534400 " +
	"94580633419776 140734065363453 140734065363473 140734065363473 140734065364971 0\n"

func TestParseStat(t *testing.T) {
	want := Stat{
		PID: 4540, Comm: "cat", State: 'R', PPID: 4538, Session: 3392, TTY: 34816, Flags: 4194304, Threads: 1, Start: 194585,
		Layout: Layout{
			StartCode: 94580556496896, EndCode: 94580556516777, StartStack: 140734065358400,
			ArgStart: 140734065363453, ArgEnd: 140734065363473, EnvEnd: 140734065364971,
		},
	}
	for _, comm := range []string{"cat", "", "a b", "a) R 1 (", ")", "(", "x)\n) (", "\xff\xfe", "kworker/0:1-events_freezable_power_"} {
		got, err := ParseStat([]byte("4540 (" + comm + ") " + bash))
		want.Comm = comm
		if err != nil {
			t.Errorf("comm %q: %v", comm, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("comm %q (-want +got):\n%s", comm, diff)
		}
	}
	if !want.Layout.Known() || want.Ended() || want.Kthread() {
		t.Error("a running program is not seen as one")
	}
}

func TestParseStatSpecial(t *testing.T) {
	kthreadd := "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 24 0 0 18446744073709551615 0 0 0 0 0 0 0"
	s, err := ParseStat([]byte(kthreadd))
	if err != nil || !s.Kthread() || s.Layout.Known() || s.PPID != 0 || s.Start != 24 {
		t.Errorf("kthreadd: %+v, %v", s, err)
	}
	short := strings.Join(strings.Fields(bash)[:20], " ") // Linux 2.6: ends earlier, but has a start
	if s, err = ParseStat([]byte("7 (x) " + short)); err != nil || s.Start != 194585 || s.Layout.Known() {
		t.Errorf("22 fields: %+v, %v", s, err)
	}
	s, err = ParseStat([]byte("7 (x) " + strings.Replace(bash, " 34816 ", " -2147448576 ", 1)))
	if err != nil || s.TTY != 0x80008900 {
		t.Errorf("tty with a large minor: %#x, %v", s.TTY, err)
	}
	reaped := strings.Join(append([]string{"X", "0", "-1", "-1", "0", "-1"}, strings.Fields(bash)[6:]...), " ")
	if s, err = ParseStat([]byte("7 (x) " + reaped)); err != nil || s.Session != sessionNone || s.Start != 194585 {
		t.Errorf("reaped: %+v, %v", s, err)
	}
	for state, threads := range map[string]bool{"Z 1": true, "X 1": true, "x 1": true, "Z 0": true, "Z 2": false, "S 1": false} {
		f := strings.Fields(bash)
		f[0], f[17] = state[:1], state[2:]
		s, err := ParseStat([]byte("7 (x) " + strings.Join(f, " ")))
		if err != nil || s.Ended() != threads {
			t.Errorf("state and threads %s: ended %v, %v", state, s.Ended(), err)
		}
	}
}

// Between two reads a process has done an exec, or is in the middle of one.
func TestExeced(t *testing.T) {
	at := func(comm string, flags uint32, code, stack uint64) Stat {
		return Stat{Comm: comm, State: 'R', Flags: flags, Layout: Layout{StartCode: code, EndCode: code + 1, StartStack: stack}}
	}
	titled := at("a", 0, 5, 9)
	titled.Layout.ArgStart = 7
	zombie := at("a", 0, 0, 0)
	zombie.State = 'Z'
	for name, c := range map[string]struct {
		first, last Stat
		want        bool
	}{
		"nothing":                   {at("a", 0, 5, 9), at("a", 0, 5, 9), false},
		"another place":             {at("a", 0, 5, 9), at("a", 0, 6, 10), true},
		"a new title":               {at("a", 0, 5, 9), titled, false},
		"a new name":                {at("a", 0, 5, 9), at("b", 0, 5, 9), false},
		"it was in the middle":      {at("b", 0, 0, 0), at("b", 0, 6, 10), true},
		"it is in the middle":       {at("a", 0, 5, 9), at("a", 0, 0, 0), true},
		"its memory is gone":        {at("a", 0, 5, 9), at("a", flagExiting, 0, 0), false},
		"it ended":                  {at("a", 0, 5, 9), zombie, false},
		"the place is hidden":       {at("a", 0, 1, 0), at("a", 0, 1, 0), false},
		"hidden, with another name": {at("a", 0, 1, 0), at("b", 0, 1, 0), true},
	} {
		if got := c.last.execedSince(c.first); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestParseStatMalformed(t *testing.T) {
	for _, in := range []string{
		"", "1", "(", ")", "1 )x(", "(x) R 1", "x (y) " + bash, "0 (y) " + bash, "1 (x) R 1 1",
		"1 (x) RR" + bash[1:], "1 (x) R -1" + bash[6:], "1 (x) " + strings.Replace(bash, "194585", "x", 1),
		"1 (x) " + strings.Replace(bash, "194585", "99999999999999999999", 1),
		"1 (x) " + strings.Replace(bash, "194585", "18446744073709551616", 1),
		"1 (x) " + strings.Replace(bash, "4194304", "4294967296", 1),
		"1 (x) " + strings.Replace(bash, "34816", "4294967296", 1),
		"1 (x) " + strings.Replace(bash, "34816", "", 1),
	} {
		if s, err := ParseStat([]byte(in)); err == nil {
			t.Errorf("%q: no error, %+v", in, s)
		}
	}
}

func TestLayoutSameExec(t *testing.T) {
	a := Layout{StartCode: 1, EndCode: 2, StartStack: 3, ArgStart: 4, ArgEnd: 5, EnvEnd: 6}
	b := a
	b.ArgStart, b.ArgEnd, b.EnvEnd = 7, 8, 9
	if !a.SameExec(b) {
		t.Error("moved arguments look like an exec")
	}
	b.StartStack++
	if a.SameExec(b) {
		t.Error("another stack does not look like an exec")
	}
}

// The number of a layout is equal where the program is at one place.
func TestLayoutNumber(t *testing.T) {
	const code, stack = 0x55d0c0a00000, 0x7ffe12345670
	a := Layout{StartCode: code, EndCode: code + 4096, StartStack: stack, ArgStart: 4}
	titled := a
	titled.ArgStart = 7
	n := a.Number(true)
	if n == 0 || n&event.LayoutRandom == 0 || titled.Number(true) != n || n >= 1<<47 {
		t.Errorf("%#x, %#x with a new title", n, titled.Number(true))
	}
	if fixed := a.Number(false); fixed == 0 || fixed&event.LayoutRandom != 0 {
		t.Errorf("not random: %#x", fixed)
	}
	for _, l := range []Layout{{StartCode: 1, EndCode: 1}, {StartStack: stack}, {}} {
		if got := l.Number(true); got != 0 {
			t.Errorf("hidden, or half set up: %+v is %#x", l, got)
		}
	}
	// Another stack (steps of 16 bytes), another place for the code, another size.
	seen := map[uint64]Layout{n: a}
	for i := range uint64(4096) {
		for _, l := range []Layout{
			{StartCode: a.StartCode, EndCode: a.EndCode, StartStack: stack - 16*(i+1)},
			{StartCode: a.StartCode + 4096*(i+1), EndCode: a.EndCode + 4096*(i+1), StartStack: stack},
			{StartCode: a.StartCode, EndCode: a.EndCode + i + 1, StartStack: stack},
		} {
			if o, ok := seen[l.Number(true)]; ok {
				t.Fatalf("%+v and %+v have one number", l, o)
			}
			seen[l.Number(true)] = l
		}
	}
}

const status = "Name:\ta\\nUid:\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t9\nUid:\t1000\t0\t0\t0\nGid:\t100\t4294967294\t0\t0\n" +
	"Groups:\t4 24 \nNStgid:\t9\t2\nNSpid:\t9\t5\t2\nNSpgid:\t9\n"

func TestParseStatus(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want Status
		bad  bool
	}{
		"three namespaces": {in: status, want: Status{UID: 1000, EUID: 0, GID: 100, EGID: 4294967294, NSPID: 2}},
		"one namespace":    {in: "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t9\n", want: Status{1, 2, 5, 6, 9}},
		"before 4.1":       {in: "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8", want: Status{1, 2, 5, 6, 0}},
		"two ids":          {in: "Uid:\t1\t2\nGid:\t5 6\nNSpid:\tx\n", want: Status{1, 2, 5, 6, 0}},
		"no gid":           {in: "Uid:\t1\t2\t3\t4\n", bad: true},
		"one id":           {in: "Uid:\t1\nGid:\t5\t6\t7\t8\n", bad: true},
		"too large":        {in: "Uid:\t4294967296\t1\nGid:\t5\t6\t7\t8\n", bad: true},
		"empty":            {bad: true},
	} {
		got, err := ParseStatus([]byte(c.in))
		if (err != nil) != c.bad || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("4540 (cat) " + bash))
	f.Add([]byte("2 (a) b) S 0 0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStat(b)
		if err == nil && (s.PID <= 0 || s.PPID < 0 || s.Threads < 0 || s.State == 0) {
			t.Errorf("%q: %+v", b, s)
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte(status))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStatus(b)
		if err != nil && s != (Status{}) {
			t.Errorf("%q: %+v with %v", b, s, err)
		}
	})
}

func FuzzCgroup(f *testing.F) {
	f.Add([]byte("9:name=systemd:/\n8:pids:/docker/" + id + "\n0::/\n"))
	f.Add([]byte("0::/system.slice/docker-" + id + ".scope (deleted)\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path, c, onV1, ok := ParseCgroup(b)
		if ok != strings.HasPrefix(path, "/") || c != "" && (len(c) != 64 || !bytes.Contains(b, []byte(c))) {
			t.Errorf("%q: path %q, container %q, %v", b, path, c, ok)
		}
		if onV1 && !ok {
			t.Errorf("%q: nothing rests on v1", b)
		}
	})
}
