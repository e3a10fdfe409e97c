package procfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// tree writes a /proc of regular files: what a real one cannot be made to show.
func tree(t *testing.T, files map[string]string) FS {
	t.Helper()
	f := FS{Root: t.TempDir()}
	for name, content := range files {
		path := filepath.Join(f.Root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestRecordedTree(t *testing.T) {
	f := tree(t, map[string]string{
		"4540/stat": "4540 (cat) " + bash, "4538/stat": "4538 (sh) " + bash,
		"4540/status": status, "4540/loginuid": "4294967295", "4540/cmdline": "nginx: worker",
		"4540/cgroup": "0::/docker/" + id + "\n", "self/stat": "", "0/stat": "", "uptime": "",
		"sys/kernel/random/boot_id": "b9b4c8a0-1111-2222-3333-444455556666\n",
	})
	b, err := f.BootID()
	if err != nil || b.String() != "b9b4c8a0111122223333444455556666" {
		t.Errorf("boot id %v, %v", b, err)
	}
	e, err := f.Process(b, 4540, 100)
	if err != nil {
		t.Fatal(err)
	}
	x := e.Exec
	if x.Args != "nginx: worker\x00" || x.ArgsLen != 14 || x.Argc != 1 || x.Truncated {
		t.Errorf("a title without NUL: %+v", x)
	}
	if x.AUID != event.AUIDUnset || x.UID != 1000 || x.NSPID != 2 || x.ContainerID != id {
		t.Errorf("%+v", x)
	}
	if got := e.Known & (event.KnownNS | event.KnownExe | event.KnownFile | event.KnownCwd); got != 0 || !e.Known.Has(event.KnownAUID) {
		t.Errorf("known: %v", e.Known.Names())
	}
	if x.TTY != 34816 || x.Comm != "cat" || e.Parent.PID != 4538 {
		t.Errorf("%+v", e)
	}
	if e, err = f.Process(b, 4540, 13); err != nil || !e.Exec.Truncated || e.Exec.Args != "nginx: worker" {
		t.Errorf("cut before the added NUL: %+v, %v", e.Exec, err)
	}
	// 4538 is its own parent here, which is nonsense but no reason to fail.
	if pids, err := f.PIDs(); err != nil || len(pids) != 2 {
		t.Errorf("pids %v, %v", pids, err)
	}
}

// TestTorn: a parent that is always another one than before cannot settle.
func TestTorn(t *testing.T) {
	f := tree(t, map[string]string{"4540/stat": "4540 (cat) " + bash, "4540/cmdline": "a\x00"})
	e, err := f.Process(event.BootID{}, 4540, 100)
	if err != nil || e.Known&(event.KnownArgs|event.KnownParent) != 0 || e.Exec.Args != "" || e.Exec.ArgsLen != 0 {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestFaults(t *testing.T) {
	f := tree(t, map[string]string{"7/stat": "nonsense", "sys/kernel/random/boot_id": "nonsense"})
	if _, err := f.BootID(); err == nil {
		t.Error("boot id: no error")
	}
	if _, err := f.PIDs(); !errors.Is(err, errStat) {
		t.Errorf("pids: %v", err)
	}
	if _, err := f.Snapshot(context.Background(), event.BootID{}, 1); !errors.Is(err, errStat) {
		t.Errorf("snapshot: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Snapshot(ctx, event.BootID{}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled snapshot: %v", err)
	}
	reaped := strings.Replace(bash, "R 4538 4540 3392", "X 0 -1 -1", 1)
	if _, err := tree(t, map[string]string{"7/stat": "7 (x) " + reaped}).Stat(7); !errors.Is(err, ErrGone) {
		t.Errorf("stat of a process that is being reaped: %v", err)
	}
	none := FS{Root: filepath.Join(f.Root, "none")}
	if _, err := none.PIDs(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pids of no /proc: %v", err)
	}
	if _, err := none.Snapshot(context.Background(), event.BootID{}, 1); err == nil {
		t.Error("snapshot of no /proc: no error")
	}
	if _, err := none.BootID(); err == nil {
		t.Error("boot id of no /proc: no error")
	}
	if _, _, err := none.ExeFile(Stat{PID: 1}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("exe of no /proc: %v", err)
	}
	if dev, ino, err := (FS{}).ExeFile(Stat{PID: os.Getpid()}); err != nil || dev == 0 || ino == 0 {
		t.Errorf("exe: %d, %d, %v", dev, ino, err)
	}
}

// On v1 the kernel shows who is on his way out in the root: that is no place.
func TestPlaceOfExiting(t *testing.T) {
	const docker, v2 = "/docker/" + id, "0::/docker/" + id + "\n"
	stat := func(pid int, state byte, flags, threads int) string {
		return fmt.Sprintf("%d (a) %c 0 1 1 9 -1 %d 0 0 0 0 0 0 0 0 20 0 %d 0 5 0 0\n", pid, state, flags, threads)
	}
	for _, test := range []struct {
		name, stat, thread, cgroup, ofThread string
		path, id                             string // "" = not known
		tty                                  bool
	}{
		{"at work, v1", stat(7, 'R', 0, 1), "", "2:pids:/\n0::/\n", "", "/", "", true},
		{"at work, in a container", stat(7, 'R', 0, 1), "", "2:pids:" + docker + "\n", "", docker, id, true},
		{"a zombie, v1", stat(7, 'Z', 4, 1), "", "2:pids:/\n", "", "", "", false},
		{"a zombie, hybrid", stat(7, 'Z', 4, 1), "", "2:pids:/\n0::/\n", "", "", "", false},
		{"a zombie, hybrid, v2 at the runtime", stat(7, 'Z', 4, 1), "", "2:pids:/\n0::/system.slice\n", "", "", "", false},
		{"a zombie, hybrid, v2 at the container", stat(7, 'Z', 4, 1), "", "2:pids:/\n" + v2, "", docker, id, false},
		{"a zombie, v2", stat(7, 'Z', 4, 1), "", v2, "", docker, id, false},
		{"a zombie, v2 root", stat(7, 'Z', 4, 1), "", "0::/\n", "", "/", "", false},
		{"exiting, v1", stat(7, 'R', 4, 1), "", "2:pids:/\n", "", "", "", true},
		{"exiting, v2", stat(7, 'R', 4, 1), "", v2, "", docker, id, true},
		{"only its first thread, v1", stat(7, 'Z', 4, 2), stat(8, 'S', 0, 2), "2:pids:/\n", "2:pids:" + docker + "\n", docker, id, true},
		{"all of its threads, v1", stat(7, 'Z', 4, 2), stat(8, 'R', 4, 2), "2:pids:/\n", "2:pids:/\n", "", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := tree(t, map[string]string{
				"7/stat": test.stat, "7/cgroup": test.cgroup, "7/task/7/stat": test.stat,
				"7/task/8/stat": test.thread, "7/task/8/cgroup": test.ofThread,
			})
			s, err := f.Look(event.BootID{}, 7, 10)
			if err != nil {
				t.Fatal(err)
			}
			x, k := s.Event.Exec, s.Event.Known
			if x.Cgroup != test.path || x.ContainerID != test.id {
				t.Errorf("in %q, %q, want %q, %q", x.Cgroup, x.ContainerID, test.path, test.id)
			}
			const place = event.KnownCgroup | event.KnownContainer
			if want := test.path != ""; k.Has(place) != want || k&place != 0 != want || k.Has(event.KnownTTY) != test.tty || x.TTY != 0 != test.tty {
				t.Errorf("known: %v, tty %d", k.Names(), x.TTY)
			}
			all, err := f.Snapshot(t.Context(), event.BootID{}, 10)
			if err != nil || len(all) > 1 || len(all) == 1 && (all[0].Event.Exec.Cgroup != test.path || all[0].Event.Known.Has(place) != (test.path != "")) {
				t.Errorf("listed: %+v, %v", all, err)
			}
		})
	}
	// The thread that was read ended meanwhile, and another one lives.
	e := event.Event{Known: event.KnownCgroup | event.KnownContainer, Exec: &event.Exec{Cgroup: "/"}}
	forgetGivenUp(Stat{Thread: 8}, Stat{Thread: 9, State: 'Z', Threads: 3}, true, &e)
	if e.Known != 0 || e.Exec.Cgroup != "" {
		t.Errorf("known: %v, %q", e.Known.Names(), e.Exec.Cgroup)
	}
}

// A process cannot make a row of any size by what it calls its variables.
func TestEnvironmentIsBounded(t *testing.T) {
	one := "X=" + strings.Repeat("x", 1021) + "\x00" // 1 KiB
	for _, test := range []struct {
		wanted, others, kept int // KiB
		known                bool
	}{{128, 512, 128, true}, {129, 0, 128, true}, {1, 1024, 1, true}, {0, 512, 0, true}, {0, 1024, 0, false}} {
		f := tree(t, map[string]string{
			"7/stat": "7 (a) " + bash, "4538/stat": "4538 (sh) " + bash,
			"7/environ": strings.Repeat(one, test.wanted) + strings.Repeat("Y"+one[1:], test.others),
		})
		f.Env = []string{"X"}
		e, err := f.Process(event.BootID{}, 7, 100)
		if err != nil {
			t.Fatal(err)
		}
		if e.Known.Has(event.KnownEnv) != test.known || e.Exec.Env != strings.Repeat(one, test.kept) {
			t.Errorf("%d KiB wanted, %d KiB others: known %v, %d bytes", test.wanted, test.others, e.Known.Has(event.KnownEnv), len(e.Exec.Env))
		}
	}
}

// onWait calls a function whenever somebody waits with it.
type onWait struct {
	context.Context
	f func()
}

func (c onWait) Done() <-chan struct{} {
	c.f()
	return c.Context.Done()
}

// A process on its way out is in no list once it is gone, and marked before that.
func TestSnapshotOfExiting(t *testing.T) {
	stat := func(pid int, state byte, flags, threads, start int) string {
		return fmt.Sprintf("%d (a) %c 0 1 1 0 -1 %d 0 0 0 0 0 0 0 0 20 0 %d 0 %d 0 0\n", pid, state, flags, threads, start)
	}
	for _, test := range []struct {
		name                  string
		files                 map[string]string
		then                  string // what its stat is when it is waited for; "" = the same, "-" = there is none
		waits, lists, exiting bool
	}{
		{"at work", map[string]string{"7/stat": stat(7, 'R', 0, 1, 5)}, "", false, true, false},
		{"gone", map[string]string{"7/stat": stat(7, 'R', 4, 1, 5)}, "-", true, false, false},
		{"a zombie", map[string]string{"7/stat": stat(7, 'R', 4, 1, 5)}, stat(7, 'Z', 4, 1, 5), true, false, false},
		{"another one has the pid", map[string]string{"7/stat": stat(7, 'R', 4, 1, 5)}, stat(7, 'R', 4, 1, 6), true, false, false},
		{"for long", map[string]string{"7/stat": stat(7, 'D', 4, 1, 5)}, "", true, true, true},
		{"only its first thread", map[string]string{
			"7/stat": stat(7, 'Z', 4, 2, 5), "7/task/7/stat": stat(7, 'Z', 4, 2, 5), "7/task/8/stat": stat(8, 'S', 0, 2, 5),
		}, "", false, true, false},
		{"all of its threads", map[string]string{
			"7/stat": stat(7, 'Z', 4, 2, 5), "7/task/7/stat": stat(7, 'Z', 4, 2, 5), "7/task/8/stat": stat(8, 'R', 4, 2, 5),
		}, "", true, true, true},
		{"threads not shown", map[string]string{"7/stat": stat(7, 'Z', 4, 2, 5)}, "", false, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := tree(t, test.files)
			name := filepath.Join(f.Root, "7/stat")
			waits := 0
			begin := time.Now()
			all, err := f.Snapshot(onWait{t.Context(), func() {
				waits++
				switch test.then {
				case "":
				case "-":
					os.Remove(name)
				default:
					os.WriteFile(name+"2", []byte(test.then), 0o644)
					os.Rename(name+"2", name)
				}
			}}, event.BootID{}, 10)
			if err != nil {
				t.Fatal(err)
			}
			if waits > 0 != test.waits || len(all) == 1 != test.lists || test.lists && all[0].Exiting != test.exiting {
				t.Errorf("waited %d times, %+v", waits, all)
			}
			if d := time.Since(begin); test.exiting && d < exitTime {
				t.Errorf("waited for %s", d)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	f := tree(t, map[string]string{"7/stat": stat(7, 'D', 4, 1, 5)})
	if _, err := f.Snapshot(onWait{ctx, cancel}, event.BootID{}, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("Snapshot = %v, want ctx's error", err)
	}
}

func TestThreadsEnded(t *testing.T) {
	stat := func(pid int, state byte) string {
		return fmt.Sprintf("%d (a) %c 0 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 2 0 5 0 0\n", pid, state)
	}
	leader := stat(7, 'Z')
	for _, test := range []struct {
		name        string
		files       map[string]string
		ended, fail bool
	}{
		{"all", map[string]string{"7/stat": leader, "7/task/7/stat": leader, "7/task/8/stat": stat(8, 'Z')}, true, false},
		{"one is gone", map[string]string{"7/stat": leader, "7/task/7/stat": leader, "7/task/8/none": ""}, true, false},
		{"one is on its way out", map[string]string{"7/stat": leader, "7/task/7/stat": leader, "7/task/8/stat": stat(8, 'R')}, false, false},
		{"one is not shown", map[string]string{"7/stat": leader, "7/task/7/stat": leader, "7/task/8/stat": "nonsense"}, false, true},
		{"no list", map[string]string{"7/stat": leader}, false, true},
		{"only the first one is left", map[string]string{"7/stat": leader, "7/task/none": ""}, true, false},
		{"another thread has executed a program", map[string]string{"7/stat": stat(7, 'R'), "7/task/7/stat": leader, "7/task/8/stat": stat(8, 'X')}, false, false},
	} {
		ended, err := tree(t, test.files).ThreadsEnded(Stat{PID: 7, Start: 5})
		if ended != test.ended || (err != nil) != test.fail || errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, %v", test.name, ended, err)
		}
	}
	for name, files := range map[string]map[string]string{"gone": nil, "gone with the list open": {"7/task/none": ""}, "another one has the pid": {"7/stat": strings.Replace(leader, " 5 ", " 6 ", 1)}} {
		if ended, err := tree(t, files).ThreadsEnded(Stat{PID: 7, Start: 5}); ended || !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, %v", name, ended, err)
		}
	}
}
