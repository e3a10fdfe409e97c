package poll

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/testenv"
)

const (
	modeVar  = "POLL_TEST_CHILD"
	otherVar = "POLL_TEST_OTHER" // another file with this program
	mmVar    = "POLL_TEST_MM"    // what the program says of its memory
)

// TestMain plays the observed program when the environment says so: it tells
// that it is there, and does what each line of its input says.
func TestMain(m *testing.M) {
	if os.Getenv(modeVar) == "" {
		os.Exit(m.Run())
	}
	if text := os.Getenv(mmVar); text != "" {
		var m testenv.MM
		if err := errors.Join(json.Unmarshal([]byte(text), &m), m.Set()); err != nil {
			fmt.Println(err)
		}
	}
	in := bufio.NewReaderSize(os.Stdin, 16) // lines are read one by one: exec keeps the rest in the pipe
	for {
		fmt.Println("here")
		line, err := in.ReadString('\n')
		if err == io.EOF {
			os.Exit(0)
		}
		exe, _ := os.Executable()
		switch line {
		case "exec\n":
			err = syscall.Exec(exe, []string{"another", "", "\xff"}, os.Environ())
		case "same\n":
			err = syscall.Exec(exe, os.Args, os.Environ())
		case "swap\n": // the layout depends on the size of the arguments
			err = syscall.Exec(exe, []string{os.Args[0], os.Args[1], os.Args[3], os.Args[2]}, os.Environ())
		case "forge\n":
			err = forge()
		case "hide\n": // as an exec does that gains privileges
			err = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
		case "name\n":
			err = os.WriteFile("/proc/self/comm", []byte("other"), 0)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

// forge executes another file, with the same name, that says it is where this one is.
func forge() error {
	m, err := testenv.OwnMM()
	if err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return syscall.Exec(os.Getenv(otherVar), os.Args, append(os.Environ(), mmVar+"="+string(text)))
}

type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	t   *testing.T
}

func start(t *testing.T) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startFile(t, exe)
}

func startFile(t *testing.T, exe string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(exe, "a b", "", "z"), t: t}
	c.Env = append(os.Environ(), modeVar+"=1")
	c.in, _ = c.StdinPipe()
	out, _ := c.StdoutPipe()
	c.out = bufio.NewReader(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.in.Close()
		c.Process.Kill()
		c.Wait()
	})
	c.here()
	return c
}

func (c *child) here() {
	c.t.Helper()
	if line, err := c.out.ReadString('\n'); line != "here\n" {
		c.t.Fatalf("child says %q, %v", line, err)
	}
}

func (c *child) do(what string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, what+"\n"); err != nil {
		c.t.Fatal(err)
	}
	c.here()
}

// of keeps the events of one process: others come and go on a real machine.
func of(events []event.Event, pid int) (mine []event.Event) {
	for _, e := range events {
		if int(e.Process.PID) == pid {
			mine = append(mine, e)
		}
	}
	return mine
}

func realPoller(t *testing.T) *poller {
	t.Helper()
	boot, err := HostBootID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := source.Options{Boot: boot}
	o.FillDefaults()
	return newPoller(o, newTable(o))
}

func scan(t *testing.T, p *poller, pid int) []event.Event {
	t.Helper()
	events, err := p.scan(t.Context(), event.SourcePoll)
	if err != nil {
		t.Fatal(err)
	}
	place := map[event.ProcessKey]int{}
	for i, e := range events {
		if e.Kind == event.KindExec {
			place[e.Process] = i
		}
	}
	for i, e := range events {
		if j, ok := place[e.Parent]; ok && e.Kind == event.KindExec && j > i {
			t.Errorf("%v comes before its parent %v", e.Process, e.Parent)
		}
	}
	return of(events, pid)
}

// tables are the two ways to look at Linux; the second is that of the other systems.
func tables(t *testing.T, test func(t *testing.T, p *poller)) {
	t.Run("proc", func(t *testing.T) { test(t, realPoller(t)) })
	t.Run("proc without layouts", func(t *testing.T) {
		p := realPoller(t)
		p.table = blind{p.table.(*procTable)}
		test(t, p)
	})
	t.Run("host", func(t *testing.T) {
		p := realPoller(t)
		p.table = newHostTable(p.o, "linux")
		test(t, p)
	})
}

// blind looks as if layouts were hidden.
type blind struct{ *procTable }

func (b blind) look(ctx context.Context, pid int32, p *proc) (change, error) {
	p.image.id.Layout = 0
	return b.procTable.look(ctx, pid, p)
}

func TestRealLife(t *testing.T) {
	tables(t, func(t *testing.T, p *poller) {
		old := scan(t, p, os.Getpid())
		if len(old) != 1 {
			t.Fatalf("this process is seen %d times", len(old))
		}
		c := start(t)
		pid := c.Process.Pid
		born := scan(t, p, pid)
		if len(born) != 1 || born[0].Kind != event.KindExec || born[0].Source != event.SourcePoll {
			t.Fatalf("new process: %+v", born)
		}
		e := born[0]
		if e.Exec.Args != c.Path+"\x00a b\x00\x00z\x00" || e.Exec.Exe != c.Path || e.Exec.Argc != 4 || e.Parent != old[0].Process {
			t.Errorf("new process: %+v, %+v", e, e.Exec)
		}
		if e.Known.Has(event.KnownTime) || e.Known.Has(event.KnownStart) || !e.Known.Has(event.KnownUID|event.KnownCwd) {
			t.Errorf("known: %v", e.Known.Names())
		}
		if again := scan(t, p, pid); len(again) != 0 {
			t.Errorf("nothing happened, but %+v", again)
		}
		c.do("name")
		if again := scan(t, p, pid); len(again) != 0 {
			t.Errorf("a new name looks like %+v", again[0])
		}
		c.do("exec")
		execs := scan(t, p, pid)
		if len(execs) != 1 || execs[0].Kind != event.KindExec || execs[0].Exec.Args != "another\x00\x00\xff\x00" || execs[0].Process != e.Process {
			t.Errorf("exec: %+v", execs)
		}
		c.Process.Kill()
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		exits := scan(t, p, pid) // a zombie now
		if len(exits) != 1 || exits[0].Kind != event.KindExit || exits[0].Process != e.Process || !exits[0].Exit.Presumed || exits[0].Known != 0 {
			t.Errorf("exit: %+v", exits)
		}
		if again := scan(t, p, pid); len(again) != 0 {
			t.Errorf("a zombie is %+v", again[0])
		}
	})
}

// TestExecOfTheSame: where memory layouts are random, an exec that changes
// neither file nor arguments is one all the same.
func TestExecOfTheSame(t *testing.T) {
	p := realPoller(t)
	c := start(t)
	scan(t, p, c.Process.Pid)
	if p.procs[int32(c.Process.Pid)].image.id.Layout&event.LayoutRandom == 0 {
		testenv.Skip(t, "addresses are not randomised, or not shown")
	}
	c.do("same")
	if got := scan(t, p, c.Process.Pid); len(got) != 1 || got[0].Exec.Argc != 4 {
		t.Errorf("exec of the same: %+v", got)
	}
}

// TestExecAtOnePlace: without random addresses (setarch -R) an exec of the same file
// is where the one before was, and its arguments tell.
func TestExecAtOnePlace(t *testing.T) {
	p := realPoller(t)
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	const noRandom = 0x0040000
	if _, _, err := unix.RawSyscall(unix.SYS_PERSONALITY, noRandom, 0, 0); err != 0 {
		t.Fatal(err)
	}
	c := start(t)
	pid := c.Process.Pid
	scan(t, p, pid)
	was := p.procs[int32(pid)].image.id
	if was.Layout == 0 {
		testenv.Skip(t, "layouts are not shown")
	}
	if was.Layout&event.LayoutRandom != 0 {
		t.Fatal("the layout counts as random")
	}
	c.do("swap")
	got := scan(t, p, pid)
	if now := p.procs[int32(pid)].image.id; now != was {
		t.Fatalf("it is at another place: %+v, was at %+v", now, was)
	}
	if len(got) != 1 || got[0].Exec.Args != c.Path+"\x00a b\x00z\x00\x00" {
		t.Errorf("exec of the same with other arguments: %+v", got)
	}
}

// TestForgedLayout: a program that says that its memory is that of the one before
// is another one all the same.
func TestForgedLayout(t *testing.T) {
	testenv.NeedMM(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), filepath.Base(exe))
	if err := os.WriteFile(other, program, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(otherVar, other)
	p := realPoller(t)
	c := start(t)
	pid := c.Process.Pid
	scan(t, p, pid)
	was := p.procs[int32(pid)].image
	if was.id.Layout&event.LayoutRandom == 0 {
		testenv.Skip(t, "addresses are not randomised, or not shown")
	}
	c.do("forge")
	if st, err := p.table.(*procTable).fs.Stat(pid); err != nil || st.LayoutNumber() != was.id.Layout {
		t.Fatalf("layout %+v, %v; want that of before, %#x", st.Layout, err, was.id.Layout)
	}
	got := scan(t, p, pid) // where the arguments were is nothing: it looks half set up
	if got = append(got, scan(t, p, pid)...); len(got) != 1 || got[0].Exec.Exe != other {
		t.Errorf("exec of another file: %+v", got)
	}
}

// TestSameKeys: polling, the snapshot and gopsutil's start agree on who is who.
func TestSameKeys(t *testing.T) {
	p := realPoller(t)
	mine := scan(t, p, os.Getpid())
	e, err := procfs.FS{}.Process(p.o.Boot, os.Getpid(), 64<<10)
	if err != nil || len(mine) != 1 || mine[0].Process != e.Process || mine[0].Parent != e.Parent {
		t.Errorf("poll %+v, procfs %+v, %v", mine, e, err)
	}
}

func TestOpen(t *testing.T) {
	s, err := Open(t.Context(), source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	baseline := of(<-s.Events(), os.Getpid())
	if len(baseline) != 1 || baseline[0].Source != event.SourceSnapshot || baseline[0].Process.Boot == (event.BootID{}) {
		t.Errorf("baseline: %+v", baseline)
	}
	s.Close()
	for range s.Events() {
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

// TestNoStart: on OpenBSD a process is who it was when it was first seen.
func TestNoStart(t *testing.T) {
	p := realPoller(t)
	h := newHostTable(p.o, "openbsd")
	h.born[1<<30] = 1
	pids, err := h.pids(t.Context())
	if err != nil || len(pids) == 0 || len(h.born) != 0 {
		t.Errorf("%d pids, %v, born %v", len(pids), err, h.born)
	}
	if _, err := h.read(t.Context(), 1<<30, &proc{}); err == nil {
		t.Error("a process that is not there has a start")
	}
	w := newHostTable(p.o, "windows")
	q := &proc{}
	e, err := w.read(t.Context(), int32(os.Getpid()), q)
	q.key = e.Process
	if c, err2 := w.look(t.Context(), int32(os.Getpid()), q); err != nil || err2 != nil || c != same {
		t.Errorf("%v, %v, %v", c, err, err2)
	}
	q.key.Start++
	if c, err := w.look(t.Context(), int32(os.Getpid()), q); err != nil || c != replaced {
		t.Errorf("%v, %v", c, err)
	}
}

// BenchmarkScan is one look at a machine on which nothing happens.
func BenchmarkScan(b *testing.B) {
	o := source.Options{}
	o.FillDefaults()
	for name, t := range map[string]table{"proc": newTable(o), "blind": blind{newTable(o).(*procTable)}} {
		b.Run(name, func(b *testing.B) {
			p := newPoller(o, t)
			if _, err := p.scan(b.Context(), event.SourceSnapshot); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			looks := 0
			for b.Loop() {
				if _, err := p.scan(b.Context(), event.SourcePoll); err != nil {
					b.Fatal(err)
				}
				looks += len(p.procs)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(looks), "ns/process")
			b.ReportMetric(float64(len(p.procs)), "processes")
		})
	}
}
