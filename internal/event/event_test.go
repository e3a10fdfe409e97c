package event

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file below testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

var testBoot = BootID{0xab, 0xcd, 0xef, 0x01, 5: 7, 15: 0xff}

// text draws bytes, of which many are not UTF-8, NUL or empty.
func text(t *rapid.T, label string) string {
	return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, label))
}

// drawKey draws a key of testBoot, or no process, which has no boot either.
func drawKey(t *rapid.T, label string) ProcessKey {
	k := ProcessKey{Boot: testBoot, PID: rapid.Uint32().Draw(t, label+" pid"), Start: rapid.Uint64().Draw(t, label+" start")}
	if k.IsZero() {
		return ProcessKey{}
	}
	return k
}

// drawEvent draws any event whose parts fit its kind.
func drawEvent(t *rapid.T) Event {
	u32 := func(label string) uint32 { return rapid.Uint32().Draw(t, label) }
	u64 := func(label string) uint64 { return rapid.Uint64().Draw(t, label) }
	flag := func(label string) bool { return rapid.Bool().Draw(t, label) }
	e := Event{
		Kind:    rapid.SampledFrom([]Kind{KindExec, KindFork, KindExit, KindExecFailed, KindGap, KindHash}).Draw(t, "kind"),
		Source:  Source(rapid.Byte().Draw(t, "source")),
		Known:   Known(u64("known")),
		Time:    rapid.Int64().Draw(t, "time"),
		Process: drawKey(t, "process"),
		StartNS: u64("start_ns"),
		Parent:  drawKey(t, "parent"),
	}
	switch e.Kind {
	case KindExec, KindExecFailed:
		e.Exec = &Exec{
			UID: u32("uid"), GID: u32("gid"), EUID: u32("euid"), EGID: u32("egid"), AUID: u32("auid"), SID: u32("sid"),
			TTY: u32("tty"), Argc: u32("argc"), Exe: text(t, "exe"), Invoked: text(t, "invoked"),
			Interpreter: text(t, "interpreter"), Cwd: text(t, "cwd"), Comm: text(t, "comm"), Cgroup: text(t, "cgroup"),
			Args: text(t, "args"), ArgsLen: u64("args_len"), Truncated: flag("truncated"), ContainerID: text(t, "container"),
			PIDNS: u32("pid_ns"), MntNS: u32("mnt_ns"), NSPID: u32("ns_pid"), Dev: u64("dev"), Inode: u64("inode"),
			Nlink: u32("nlink"), Fileless: flag("fileless"), Deleted: flag("deleted"), Gained: Gained(rapid.Byte().Draw(t, "gained")),
			Size: u64("size"), MTime: rapid.Int64().Draw(t, "mtime"), CTime: rapid.Int64().Draw(t, "ctime"), Layout: u64("layout"),
			SHA256: text(t, "sha256"), Errno: rapid.Int32().Draw(t, "errno"), Env: text(t, "env"), Redacted: flag("redacted"),
		}
	case KindFork:
		if e.Known.Has(KnownMaker) {
			e.Fork = &Fork{Maker: drawKey(t, "maker")}
		}
	case KindHash:
		e.Hash = &Hash{
			ExecTime: rapid.Int64().Draw(t, "exec_ts"), SHA256: text(t, "sha256"), Exe: text(t, "exe"), Dev: u64("dev"), Inode: u64("inode"),
			Size: u64("size"), MTime: rapid.Int64().Draw(t, "mtime"),
		}
	case KindExit:
		e.Exit = &Exit{Code: rapid.Byte().Draw(t, "code"), Signal: rapid.Byte().Draw(t, "signal"), Core: flag("core"), Presumed: flag("presumed"), DurationNS: rapid.Int64().Draw(t, "duration")}
	case KindGap:
		e.Gap = &Gap{Until: rapid.Int64().Draw(t, "until"), Of: Kind(rapid.IntRange(0, NumKinds-1).Draw(t, "of")), Lost: u64("lost"), Cause: text(t, "cause")}
	}
	return e
}

func TestArgv(t *testing.T) {
	for _, test := range []struct {
		name, args string
		argv       []string
		cmdline    string
	}{
		{"none", "", nil, ""},
		{"one", "a\x00", []string{"a"}, "a"},
		{"three", "a\x00b c\x00d\x00", []string{"a", "b c", "d"}, "a b c d"},
		{"only an empty one", "\x00", []string{""}, ""},
		{"empty ones in the middle and last", "a\x00\x00b\x00\x00", []string{"a", "", "b", ""}, "a  b "},
		{"cut within the last", "a\x00bc", []string{"a", "bc"}, "a bc"},
		{"not UTF-8", "\xff\x00\n\x00", []string{"\xff", "\n"}, "\xff \n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := &Exec{Args: test.args}
			if got := x.Argv(); !slices.Equal(got, test.argv) || (got == nil) != (test.argv == nil) {
				t.Errorf("Argv of %q = %q, want %q", test.args, got, test.argv)
			}
			if got := x.Cmdline(); got != test.cmdline {
				t.Errorf("Cmdline of %q = %q, want %q", test.args, got, test.cmdline)
			}
		})
	}
}

func TestArgvRoundTrip(t *testing.T) {
	arg := rapid.Map(rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 20), func(b []byte) string { return string(b) })
	rapid.Check(t, func(t *rapid.T) {
		argv := rapid.SliceOf(arg).Draw(t, "argv")
		var args strings.Builder
		for _, a := range argv {
			args.WriteString(a + "\x00")
		}
		if got := (&Exec{Args: args.String()}).Argv(); !slices.Equal(got, argv) {
			t.Fatalf("Argv = %q, want %q", got, argv)
		}
	})
}

func TestName(t *testing.T) {
	for exe, want := range map[string]string{"": "", "/": "", "/bin/sh": "sh", "sh": "sh", "memfd:x": "memfd:x", "/a/b (deleted)": "b (deleted)"} {
		if got := (&Exec{Exe: exe}).Name(); got != want {
			t.Errorf("Name of %q = %q, want %q", exe, got, want)
		}
	}
}

func TestGainedNames(t *testing.T) {
	for g, want := range map[Gained][]string{
		0: nil, GainedSetuid: {"setuid"}, GainedSetgid: {"setgid"}, GainedCaps: {"caps"},
		GainedSetuid | GainedCaps: {"setuid", "caps"}, 7: {"setuid", "setgid", "caps"}, 0xf8: nil,
	} {
		if got := g.Names(); !slices.Equal(got, want) {
			t.Errorf("Names of %d = %q, want %q", g, got, want)
		}
	}
}

func TestEnumNames(t *testing.T) {
	kinds := []string{"unknown", "exec", "fork", "exit", "exec_failed", "gap", "hash", "unknown"}
	for k, want := range kinds {
		if got := Kind(k).String(); got != want {
			t.Errorf("Kind(%d) = %q, want %q", k, got, want)
		}
	}
	sources := []string{"unknown", "ebpf", "procconn", "poll", "snapshot", "agent"}
	for s, want := range sources {
		if got := Source(s).String(); got != want {
			t.Errorf("Source(%d) = %q, want %q", s, got, want)
		}
	}
	if got := Source(255).String() + Kind(255).String(); got != "unknownunknown" {
		t.Errorf("the largest values = %q", got)
	}
}

// Every constant of an enum has a name: one that is added without is "unknown".
func TestEveryConstantHasAName(t *testing.T) {
	for file, types := range map[string]map[string]int{
		"event.go": {"Kind": len(kindNames) - 1, "Source": len(sourceNames) - 1},
		"alert.go": {"Severity": len(severityNames) - 1},
		"known.go": {"Known": len(knownNames)},
	} {
		for name, named := range types {
			if declared := constants(t, file, name); len(declared) != named {
				t.Errorf("%d constants of type %s, but %d names: %q", len(declared), name, named, declared)
			}
		}
	}
}

func TestSeverity(t *testing.T) {
	for s, name := range map[Severity]string{SeverityLow: "low", SeverityMedium: "medium", SeverityHigh: "high", SeverityCritical: "critical"} {
		if got := s.String(); got != name {
			t.Errorf("String of %d = %q, want %q", s, got, name)
		}
		if got, err := ParseSeverity(name); got != s || err != nil {
			t.Errorf("ParseSeverity(%q) = %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "unknown", "High", " low", "fatal"} {
		got, err := ParseSeverity(name)
		if got != 0 || err == nil || !strings.Contains(err.Error(), "want low, medium, high, critical") {
			t.Errorf("ParseSeverity(%q) = %v, %v: want an error that lists the names", name, got, err)
		}
	}
	if got := Severity(0).String() + Severity(5).String(); got != "unknownunknown" {
		t.Errorf("values out of range = %q", got)
	}
}

func TestBootID(t *testing.T) {
	const plain = "4c999167bb844373aedb352b4caaefb1"
	for _, s := range []string{plain, "4c999167-bb84-4373-aedb-352b4caaefb1\n", "4C999167-BB84-4373-AEDB-352B4CAAEFB1"} {
		if id, err := ParseBootID(s); err != nil || id.String() != plain {
			t.Errorf("ParseBootID(%q) = %v, %v", s, id, err)
		}
	}
	for _, s := range []string{"", plain[:30], plain + "00", "x" + plain[1:]} {
		if _, err := ParseBootID(s); err == nil {
			t.Errorf("ParseBootID(%q): no error", s)
		}
	}
}

func TestProcessKey(t *testing.T) {
	for _, test := range []struct {
		key  ProcessKey
		text string
		zero bool
	}{
		{ProcessKey{}, "", true},
		{ProcessKey{Boot: testBoot}, "", true},
		{ProcessKey{Boot: testBoot, PID: 1}, "abcdef01-1-0", false},
		{ProcessKey{Boot: testBoot, Start: 7}, "abcdef01-0-7", false}, // swapper started something
		{ProcessKey{Boot: testBoot, PID: 4194304, Start: 18446744073709551615}, "abcdef01-4194304-18446744073709551615", false},
	} {
		if got := test.key.String(); got != test.text || test.key.IsZero() != test.zero {
			t.Errorf("%+v: %q, zero %v; want %q, %v", test.key, got, test.key.IsZero(), test.text, test.zero)
		}
	}
}

// The tick must be the one that /proc shows: rounded down.
func TestTicksOf(t *testing.T) {
	for ns, want := range map[uint64]uint64{0: 0, 9_999_999: 0, 10_000_000: 1, 4_173_789_999_999: 417378, 1<<64 - 1: 1844674407370} {
		if got := TicksOf(ns); got != want {
			t.Errorf("TicksOf(%d) = %d, want %d", ns, got, want)
		}
	}
}

func TestTTYName(t *testing.T) {
	// dev is the form of proc_pid_stat(5) field 7.
	dev := func(major, minor uint32) uint32 { return minor&0xff | major<<8 | minor&^0xff<<12 }
	for _, test := range []struct {
		dev  uint32
		want string
	}{
		{0, ""},
		{34816, "pts/0"}, // as read from a real /proc/PID/stat
		{34819, "pts/3"},
		{1025, "tty1"},
		{dev(136, 255), "pts/255"},
		{dev(136, 256), "pts/256"}, // devpts goes on in the minor
		{dev(137, 1), "pts/257"},
		{dev(143, 0), "pts/1792"},
		{dev(144, 0), "144:0"},
		{dev(4, 0), "tty0"},
		{dev(4, 63), "tty63"},
		{dev(4, 64), "ttyS0"},
		{dev(4, 65), "ttyS1"},
		{dev(5, 1), "console"},
		{dev(5, 0), "5:0"},
		{dev(204, 64), "204:64"},
		{dev(4095, 1<<20-1), "4095:1048575"},
	} {
		if got := TTYName(test.dev); got != test.want {
			t.Errorf("TTYName(%d) = %q, want %q", test.dev, got, test.want)
		}
	}
}

func TestFormatTimeSorts(t *testing.T) {
	if got := FormatTime(1_760_000_000_000_000_001); got != "2025-10-09T08:53:20.000000001Z" {
		t.Errorf("FormatTime = %s", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		if got := strings.Compare(FormatTime(a), FormatTime(b)); (got < 0) != (a < b) || (got > 0) != (a > b) {
			t.Fatalf("%s and %s compare %d, %d and %d do not", FormatTime(a), FormatTime(b), got, a, b)
		}
	})
}

// goldenEvents has one event of each kind, and the forms that differ.
var goldenEvents = []Event{
	{
		Kind: KindExec, Source: SourceEBPF, Known: 1<<26 - 1, Time: 1_760_000_000_123_456_789,
		Process: ProcessKey{Boot: testBoot, PID: 4242, Start: 123456}, StartNS: 1_234_567_890_123,
		Parent: ProcessKey{Boot: testBoot, PID: 4000, Start: 120000},
		Exec: &Exec{
			UID: 1000, GID: 1001, EUID: 0, EGID: 0, AUID: 1000, SID: 3990, TTY: 34819, Argc: 4,
			Exe: "/usr/bin/sudo", Invoked: "./sudo", Interpreter: "/lib64/ld.so", Cwd: "/home/ann", Comm: "sudo",
			Cgroup: "/user.slice", Args: "sudo\x00\x00a\"b\\\n\x00\xff\x00", ArgsLen: 70000, Truncated: true,
			ContainerID: "0123456789abcdef", PIDNS: 4026531836, MntNS: 4026531832, NSPID: 42, Dev: 65024, Inode: 99,
			Nlink: 1, Layout: 0x2aaa_5555_1235, Gained: GainedSetuid | GainedSetgid, SHA256: "\x00\x01\xfe\xff", User: "ann",
		},
	},
	{
		Kind: KindExecFailed, Source: SourceEBPF, Known: KnownTime | KnownInvoked | KnownArgs, Time: 1_760_000_001_000_000_000,
		Process: ProcessKey{Boot: testBoot, PID: 4242, Start: 123456}, Exec: &Exec{Invoked: "/none", Errno: 2},
	},
	{
		Kind: KindExecFailed, Source: SourceEBPF, Known: KnownTime | KnownArgs, Time: 1_760_000_001_200_000_000,
		Process: ProcessKey{Boot: testBoot, PID: 4242, Start: 123456}, Exec: &Exec{Args: "sh\x00-c\x00ec", Truncated: true, Errno: 2},
	},
	{
		Kind: KindExec, Source: SourceSnapshot, Known: KnownAUID | KnownTTY | KnownExe | KnownGained | KnownNlink | KnownFileless,
		Time: 1_760_000_001_500_000_000, Process: ProcessKey{Boot: testBoot, PID: 1, Start: 2},
		Exec: &Exec{AUID: AUIDUnset, Exe: "memfd:x", Fileless: true, Deleted: true},
	},
	{
		Kind: KindFork, Source: SourceEBPF, Known: KnownTime | KnownStart | KnownParent, Time: 1_760_000_002_000_000_000,
		Process: ProcessKey{Boot: testBoot, PID: 4243, Start: 123457}, StartNS: 1_234_570_000_000, Parent: ProcessKey{Boot: testBoot, PID: 4242, Start: 123456},
	},
	{
		Kind: KindFork, Source: SourceEBPF, Known: KnownTime | KnownParent | KnownMaker, Time: 1_760_000_002_100_000_000,
		Process: ProcessKey{Boot: testBoot, PID: 4245, Start: 123457}, Parent: ProcessKey{Boot: testBoot, PID: 4242, Start: 123456},
		Fork: &Fork{Maker: ProcessKey{Boot: testBoot, PID: 4244, Start: 123457}},
	},
	{
		Kind: KindExit, Source: SourceEBPF, Known: KnownTime | KnownCode | KnownDuration, Time: 1_760_000_003_000_000_000,
		Process: ProcessKey{Boot: testBoot, PID: 4243, Start: 123457}, Exit: &Exit{Signal: 11, Core: true, DurationNS: 1_234_567},
	},
	{
		Kind: KindExit, Source: SourceSnapshot, Time: 1_760_000_004_000_000_000,
		Process: ProcessKey{Boot: testBoot, PID: 4242, Start: 123456}, Exit: &Exit{Presumed: true},
	},
	{
		Kind: KindGap, Source: SourceEBPF, Known: KnownTime | KnownLost, Time: 1_760_000_005_000_000_000,
		Gap: &Gap{Until: 1_760_000_006_000_000_000, Of: KindExec, Lost: 17, Cause: "ring buffer full"},
	},
	{
		Kind: KindGap, Source: SourceAgent, Known: KnownTime, Time: 1_760_000_007_000_000_000,
		Gap: &Gap{Until: 1_760_000_008_000_000_000, Cause: "procmond ended: signal: killed"},
	},
	{
		Kind: KindExec, Source: SourceEBPF, Known: KnownTime | KnownExe | KnownFile | KnownFileTimes | KnownArgs | KnownEnv,
		Time: 1_760_000_009_000_000_000, Process: ProcessKey{Boot: testBoot, PID: 4244, Start: 123458},
		Exec: &Exec{
			Exe: "/bin/a", Dev: 2049, Inode: 7, Size: 400, MTime: -1, CTime: 1_700_000_000_000_000_001, Argc: 2,
			Args: "a\x00--token=[redacted]\x00", ArgsLen: 17, Env: "LANG=C\x00EMPTY=\x00", Redacted: true,
		},
	},
	{
		Kind: KindHash, Source: SourceEBPF, Time: 1_760_000_010_000_000_000, Process: ProcessKey{Boot: testBoot, PID: 4244, Start: 123458},
		Hash: &Hash{
			ExecTime: 1_760_000_009_000_000_000, SHA256: strings.Repeat("\x5a", 32), Exe: "/bin/a", Dev: 2049, Inode: 7, Size: 400, MTime: -1,
		},
	},
}

func TestGoldenJSON(t *testing.T) {
	var got []byte
	for i := range goldenEvents {
		got = append(AppendJSON(got, &goldenEvents[i]), '\n')
	}
	golden(t, "events.ndjson", got)
}

// The encoding is stored and crosses versions of the agent: a change of one byte
// is a change of the format.
func TestGoldenCodec(t *testing.T) {
	var got bytes.Buffer
	for i := range goldenEvents {
		b := Codec{}.Append(nil, &goldenEvents[i])
		got.WriteString(strings.ToUpper(goldenEvents[i].Kind.String()) + "\n")
		for chunk := range slices.Chunk(b, 32) {
			for _, c := range chunk {
				got.WriteString(string("0123456789abcdef"[c>>4]) + string("0123456789abcdef"[c&15]))
			}
			got.WriteByte('\n')
		}
	}
	golden(t, "codec.hex", got.Bytes())
}

// What may come behind older events does not say up to when everything was told.
func TestNewest(t *testing.T) {
	gap := Event{Kind: KindGap, Source: SourceAgent, Time: 10, Gap: &Gap{Until: 50}}
	counted := Event{Kind: KindGap, Source: SourceEBPF, Known: KnownLost, Time: 20, Gap: &Gap{Until: 90, Lost: 3}}
	blind := Event{Kind: KindGap, Source: SourceEBPF, Time: 30, Gap: &Gap{Until: 95, Of: KindExecFailed}}
	exit := Event{Kind: KindExit, Source: SourceEBPF, Time: 40}
	hash := Event{Kind: KindHash, Source: SourceEBPF, Time: 99}
	found := Event{Kind: KindExec, Source: SourceSnapshot, Time: 99}
	for _, test := range []struct {
		batch       []Event
		want, event int64
	}{
		{nil, 0, 0}, {[]Event{exit}, 40, 40}, {[]Event{gap, exit}, 50, 40}, {[]Event{exit, gap}, 50, 40}, {[]Event{gap}, 50, 0},
		{[]Event{counted}, 20, 0}, {[]Event{exit, counted}, 40, 40}, {[]Event{blind}, 0, 0}, {[]Event{blind, exit}, 40, 40},
		{[]Event{hash, found, exit}, 40, 40},
	} {
		if got := Newest(test.batch); got != test.want {
			t.Errorf("%+v reach to %d, want %d", test.batch, got, test.want)
		}
		if got := NewestEvent(test.batch); got != test.event {
			t.Errorf("the newest event of %+v is of %d, want %d", test.batch, got, test.event)
		}
	}
}
