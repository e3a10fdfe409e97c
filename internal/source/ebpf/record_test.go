package ebpf

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
)

// record builds one as bpf/record.h lays it out.
func record(kind, pid uint32, time, start uint64, ppid uint32, parentStart uint64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = binary.LittleEndian.AppendUint32(b, pid)
	b = binary.LittleEndian.AppendUint64(b, time)
	b = binary.LittleEndian.AppendUint64(b, start)
	b = binary.LittleEndian.AppendUint64(b, parentStart)
	b = binary.LittleEndian.AppendUint32(b, ppid)
	return binary.LittleEndian.AppendUint32(b, 0)
}

// forkRecord adds who made the process, 0 = the parent.
func forkRecord(head []byte, maker uint32, start uint64) []byte {
	b := binary.LittleEndian.AppendUint64(head, start)
	b = binary.LittleEndian.AppendUint32(b, maker)
	return binary.LittleEndian.AppendUint32(b, 0)
}

type execFields struct {
	kind                 uint32 // 0 = kindExec
	flags, argc          uint32
	errno, dirfd         uint32
	exeWalked, cwdWalked uint32
	env                  string
	argsTotal, inode     uint64
	layout               [3]uint64
	dev, nlink           uint32
	ttyMajor, ttyMinor   uint32
	args, exe, cwd       string
	invoked, interpreter string
	cgroup, v1, comm     string
}

func execRecord(f execFields) []byte {
	b := record(max(f.kind, kindExec), 42, 5_000_000_123, 1_234_567_890, 7, 20_000_000)
	for _, v := range []uint32{f.flags, f.argc} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint64(b, f.argsTotal)
	for _, v := range []uint64{f.inode, 35_664, 1_700_000_000_000_000_001, 1_700_000_000_000_000_002} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, v := range []uint32{
		f.dev, f.nlink, 1000, 1001, 0, 1002, 1003, 99, f.ttyMajor, f.ttyMinor, 4026531836, 4026531840, 3, 5, f.errno, f.dirfd, f.exeWalked, f.cwdWalked,
		uint32(len(f.args)), uint32(len(f.env)), uint32(len(f.exe)), uint32(len(f.cwd)), uint32(len(f.invoked)), uint32(len(f.interpreter)), uint32(len(f.cgroup)), uint32(len(f.v1)), 0, 0, 0, 0,
	} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = append(b, f.comm...)
	b = append(b, make([]byte, 16-len(f.comm))...)
	for _, v := range f.layout {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = append(b, f.args+f.env+f.exe+f.cwd+f.invoked+f.interpreter+f.cgroup+f.v1...)
	return append(b, "whatever the reservation had behind it"...)
}

func decodeOne(t *testing.T, raw []byte) event.Event {
	t.Helper()
	d := decoder{boot: event.BootID{9}, wallOffset: 1_000_000_000_000, env: []string{"LANG", "LD_*"}}
	batch, err := d.decode(nil, raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(batch) != 1 {
		t.Fatalf("%d events of one record", len(batch))
	}
	clear(raw) // the event must not live in the reader's buffer
	return batch[0]
}

func TestDecodeExec(t *testing.T) {
	const all = execCgroup<<1 - 1 | execGained | execTimes | execEnv | execCgroupV1 | execRandom
	layout := procfs.Layout{StartCode: 1 << 46, EndCode: 1<<46 + 4096, StartStack: 1<<47 - 4096}
	e := decodeOne(t, execRecord(execFields{
		layout: [...]uint64{layout.StartCode, layout.EndCode, layout.StartStack},
		flags:  all, exeWalked: walkWhole, cwdWalked: walkWhole, argc: 3, argsTotal: 7, inode: 77, dev: 259<<20 | 65537, nlink: 1, ttyMajor: 136, ttyMinor: 300,
		args: "sh\x00\x00-c\x00", env: "HOME=/\x00LANG=C\x00LANGUAGE=x\x00LD_A=\xff\x00LD_=\x00junk\x00", exe: "dash\x00bin\x00usr\x00", cwd: "b\xff\x00a\x00", invoked: "./sh", interpreter: "/bin/dash",
		cgroup: "docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\x00system.slice\x00", comm: "sh",
	}))
	boot := event.BootID{9}
	want := event.Event{
		Kind: event.KindExec, Source: event.SourceEBPF,
		Known: event.KnownTime | event.KnownStart | event.KnownParent | event.KnownUID | event.KnownEUID | event.KnownAUID |
			event.KnownSID | event.KnownTTY | event.KnownExe | event.KnownInvoked | event.KnownInterpreter | event.KnownArgs |
			event.KnownCwd | event.KnownComm | event.KnownCgroup | event.KnownContainer | event.KnownNS | event.KnownNSPID |
			event.KnownFile | event.KnownNlink | event.KnownFileless | event.KnownGained | event.KnownFileTimes | event.KnownEnv,
		Time:    1_005_000_000_123,
		Process: event.ProcessKey{Boot: boot, PID: 42, Start: 123}, StartNS: 1_234_567_890,
		Parent: event.ProcessKey{Boot: boot, PID: 7, Start: 2},
		Exec: &event.Exec{
			UID: 1000, GID: 1001, EUID: 0, EGID: 1002, AUID: 1003, SID: 99, TTY: 300&0xff | 136<<8 | 256<<12,
			Exe: "/usr/bin/dash", Invoked: "./sh", Interpreter: "/bin/dash", Cwd: "/a/b\xff", Comm: "sh",
			Cgroup:      "/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope",
			ContainerID: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			Args:        "sh\x00\x00-c\x00", ArgsLen: 7, Argc: 3,
			PIDNS: 4026531836, MntNS: 4026531840, NSPID: 3, Dev: 259<<8 | 65537&0xff | 65537&^0xff<<12, Inode: 77, Nlink: 1,
			Size: 35_664, MTime: 1_700_000_000_000_000_001, CTime: 1_700_000_000_000_000_002,
			Layout: layout.Number(true),
			Gained: event.GainedSetuid | event.GainedCaps, Env: "LANG=C\x00LD_A=\xff\x00LD_=\x00",
		},
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
	if name := event.TTYName(e.Exec.TTY); name != "pts/300" {
		t.Errorf("tty %s", name)
	}
}

func TestDecodeExecUnknown(t *testing.T) {
	// What could not be read is not known, whatever the bytes are.
	e := decodeOne(t, execRecord(execFields{
		argc: 1, exe: "partial\x00", cwd: "x\x00", invoked: "./par", interpreter: "/bin/par", cgroup: "a.slice\x00", comm: "par",
	}))
	if want := event.KnownTime | event.KnownStart | event.KnownParent | event.KnownComm; e.Known != want {
		t.Errorf("known %v, want %v", e.Known.Names(), want.Names())
	}
	x := e.Exec
	if left := x.Exe + x.Cwd + x.Invoked + x.Interpreter + x.Cgroup; left != "" || x.Comm != "par" {
		t.Errorf("left of what is not known: %q; comm %q", left, x.Comm)
	}
}

func TestDecodeContainer(t *testing.T) {
	const id, other = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "aaaa456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, c := range map[string]struct {
		flags        uint32
		cgroup, v1   string
		path, id     string
		whole, known bool
	}{
		"v2":                  {execCgroup | execCgroupV1, id + "\x00docker\x00", "", "/docker/" + id, id, true, true},
		"none":                {execCgroup | execCgroupV1, "a.service\x00", "", "/a.service", "", true, true},
		"v2 at the runtime":   {execCgroup | execCgroupV1, "a.service\x00", id + "\x00docker\x00", "/a.service", id, true, true},
		"v1 not whole":        {execCgroup, "a.service\x00", id + "\x00doc", "/a.service", "", true, false},
		"v2 final, v1 is cut": {execCgroup, id + "\x00docker\x00", other + "\x00", "/docker/" + id, id, true, true},
		"v2 not whole":        {execCgroupV1, id + "\x00doc", other + "\x00docker\x00", "", "", false, false},
	} {
		e := decodeOne(t, execRecord(execFields{flags: c.flags, cgroup: c.cgroup, v1: c.v1}))
		if e.Exec.Cgroup != c.path || e.Exec.ContainerID != c.id || e.Known.Has(event.KnownCgroup) != c.whole || e.Known.Has(event.KnownContainer) != c.known {
			t.Errorf("%s: cgroup %q, container %q, known %v", name, e.Exec.Cgroup, e.Exec.ContainerID, e.Known.Names())
		}
	}
}

func TestDecodeExecFailed(t *testing.T) {
	for name, flags := range map[string]uint32{"whole": 0, "cut": execArgsCut} {
		e := decodeOne(t, execRecord(execFields{
			kind: kindExecFailed, flags: execCreds | execArgs | execInvoked | flags, argc: 2, args: "a\x00b\x00", invoked: "./none", errno: 2, dirfd: 1<<32 - 100,
		}))
		x := e.Exec
		if e.Kind != event.KindExecFailed || x.Errno != 2 || x.Args != "a\x00b\x00" || x.Invoked != "./none" {
			t.Errorf("%s: %v %+v", name, e.Kind, x)
		}
		if x.Truncated != (flags != 0) {
			t.Errorf("%s: truncated is %v", name, x.Truncated)
		}
		length, argc := uint64(4), uint32(2)
		if x.Truncated { // that of which part?
			length, argc = 0, 0
		}
		if x.ArgsLen != length || x.Argc != argc || x.Counted() == x.Truncated {
			t.Errorf("%s: length %d, argc %d, counted %v", name, x.ArgsLen, x.Argc, x.Counted())
		}
		if e.Known.Has(event.KnownExe) || e.Known.Has(event.KnownNlink) || x.Deleted || e.Known.Has(event.KnownGained) {
			t.Errorf("%s: known %v, deleted %v", name, e.Known.Names(), x.Deleted)
		}
	}
}

func TestDecodeExecSpecialFiles(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		walked, flags, nlink uint32
		exe, want            string
		deleted, fileless    bool
	}{
		{"memfd", walkAnon, execMemory, 0, "memfd:x\x00", "memfd:x", true, true},
		{"deleted from disk", walkWhole, 0, 0, "a\x00tmp\x00", "/tmp/a", true, false},
		{"deleted from tmpfs", walkWhole, execMemory, 0, "a\x00shm\x00dev\x00", "/dev/shm/a", true, true},
		{"on tmpfs", walkWhole, execMemory, 1, "a\x00shm\x00dev\x00", "/dev/shm/a", false, false},
		{"one of two names removed", walkWhole, execMemory | execUnlinked, 1, "a\x00shm\x00dev\x00", "/dev/shm/a", true, false},
		{"on a tmpfs that is not mounted", walkLost, execMemory, 1, "a\x00bin\x00/\x00", "(unreachable)/bin/a", false, true},
		{"on a disk that is not mounted", walkLost, 0, 1, "a\x00/\x00", "(unreachable)/a", false, false},
		{"below a directory that is bound nowhere", walkLost, 0, 1, "a\x00bin\x00", "(unreachable)/bin/a", false, false},
		{"a file that is bound nowhere", walkLost, 0, 1, "a\x00", "(unreachable)/a", false, false},
		{"the root of no mount", walkLost, 0, 1, "/\x00", "(unreachable)/", false, false},
		{"too many levels, on tmpfs", walkDeep, execMemory, 1, "a\x00b\x00", "(too deep)/b/a", false, false},
		{"root directory", walkWhole, 0, 1, "", "/", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := decodeOne(t, execRecord(execFields{exeWalked: tt.walked, flags: execFile | tt.flags, nlink: tt.nlink, exe: tt.exe})).Exec
			if x.Exe != tt.want || x.Deleted != tt.deleted || x.Fileless != tt.fileless {
				t.Errorf("exe %q deleted %v fileless %v", x.Exe, x.Deleted, x.Fileless)
			}
		})
	}
}

func TestDecodeForkAndExit(t *testing.T) {
	fork := decodeOne(t, forkRecord(record(kindFork, 42, 1, 10_000_000, 0, 0), 0, 0))
	if fork.Kind != event.KindFork || !fork.Parent.IsZero() || fork.Process.Start != 1 || fork.Fork != nil || fork.Known.Has(event.KnownMaker) {
		t.Errorf("%+v", fork)
	}
	fork = decodeOne(t, forkRecord(record(kindFork, 42, 1, 10_000_000, 7, 0), 9, 30_000_000))
	if !fork.Known.Has(event.KnownMaker) || fork.Fork.Maker != (event.ProcessKey{Boot: event.BootID{9}, PID: 9, Start: 3}) || fork.Parent.PID != 7 {
		t.Errorf("%+v %+v", fork, fork.Fork)
	}
	exit := record(kindExit, 42, 12_000_000, 10_000_000, 1, 0)
	exit = binary.LittleEndian.AppendUint32(exit, 42<<8|0x80|11)
	e := decodeOne(t, append(exit, 0, 0, 0, 0))
	if want := (event.Exit{Code: 42, Signal: 11, Core: true, DurationNS: 2_000_000}); e.Kind != event.KindExit || *e.Exit != want || !e.Known.Has(event.KnownCode|event.KnownDuration) {
		t.Errorf("%+v %+v", e, e.Exit)
	}
}

func TestSettle(t *testing.T) {
	var batch []event.Event
	for _, e := range []struct {
		pid uint32
		ts  int64
	}{{1, 10}, {2, 30}, {3, 20}, {4, 30}, {5, 5}, {4, 4}, {6, 40}} {
		batch = append(batch, event.Event{Time: e.ts, Process: event.ProcessKey{PID: e.pid}})
		settle(batch)
	}
	var got []string
	for _, e := range batch {
		got = append(got, fmt.Sprintf("%d@%d", e.Process.PID, e.Time))
	}
	// 4@4 stays behind what the same process did before.
	if want := "5@5 1@10 3@20 2@30 4@30 4@4 6@40"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	settle(nil)
}

func TestDecodeRefuses(t *testing.T) {
	long := execRecord(execFields{args: "a\x00"})
	binary.LittleEndian.PutUint32(long[headSize+120:], 1<<31)
	for name, raw := range map[string][]byte{
		"empty":             nil,
		"short head":        make([]byte, headSize-1),
		"unknown kind":      record(9, 1, 1, 1, 1, 1),
		"short fork":        record(kindFork, 1, 1, 1, 1, 1),
		"short exit":        record(kindExit, 1, 1, 1, 1, 1),
		"short exec":        record(kindExec, 1, 1, 1, 1, 1),
		"strings too long":  long,
		"strings over each": execRecord(execFields{args: "a\x00"})[:execSize],
	} {
		var d decoder
		if batch, err := d.decode(nil, raw); err == nil || len(batch) != 0 {
			t.Errorf("%s: %v, %v", name, batch, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(execRecord(execFields{flags: 1<<16 - 1, exeWalked: walkLost, cwdWalked: walkDeep, args: "a\x00b\x00", exe: "x\x00", cwd: "y\x00", cgroup: "z\x00"}))
	f.Add(execRecord(execFields{kind: kindExecFailed, flags: 1<<20 - 1, args: "a\x00", env: "LANG=\x00=\x00x", invoked: "y"}))
	f.Add(forkRecord(record(kindFork, 1, 2, 3, 4, 5), 6, 7))
	f.Add(append(record(kindExit, 1, 2, 3, 4, 5), 1, 2, 3, 4, 5, 6, 7, 8))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := decoder{env: []string{"LANG", "*"}}
		batch, err := d.decode(nil, raw)
		if (err == nil) != (len(batch) == 1) {
			t.Fatalf("%d events, %v", len(batch), err)
		}
		for i := range batch {
			_ = event.AppendJSON(nil, &batch[i])
		}
	})
}

func BenchmarkDecodeExec(b *testing.B) {
	raw := execRecord(execFields{
		flags: execCgroup<<1 - 1, exeWalked: walkWhole, cwdWalked: walkWhole, argc: 3, argsTotal: 40, args: "/usr/bin/something\x00--flag\x00an argument..\x00",
		exe: "something\x00bin\x00usr\x00", cwd: "project\x00user\x00home\x00", invoked: "/usr/bin/something", cgroup: "session.scope\x00user.slice\x00",
	})
	b.ReportAllocs()
	var d decoder
	batch := make([]event.Event, 0, 1)
	for b.Loop() {
		if _, err := d.decode(batch[:0], raw); err != nil {
			b.Fatal(err)
		}
	}
}
