package procconn

import (
	"errors"
	"maps"
	"os/exec"
	"testing"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/source"
)

// processes lists the live ones.
func processes(t *testing.T) map[event.ProcessKey]bool {
	t.Helper()
	boot, err := procfs.FS{}.BootID()
	if err != nil {
		t.Fatal(err)
	}
	pids, err := procfs.FS{}.PIDs()
	if err != nil {
		t.Fatal(err)
	}
	list := make(map[event.ProcessKey]bool, len(pids))
	for _, pid := range pids {
		st, err := procfs.FS{}.Stat(pid)
		if errors.Is(err, procfs.ErrGone) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		list[event.ProcessKey{Boot: boot, PID: uint32(pid), Start: st.Start}] = true
	}
	return list
}

// told are the processes that an event of a kind tells of.
func (r *recording) told(kind event.Kind) map[event.ProcessKey]bool {
	list := map[event.ProcessKey]bool{}
	for _, e := range r.all {
		if e.Kind == kind {
			list[e.Process] = true
		}
	}
	return list
}

// TestTableEqualsProc: after births and deaths of all kinds the table holds what
// /proc holds, and nothing else.
func TestTableEqualsProc(t *testing.T) {
	sleeper := exec.Command("/bin/sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	r := start(t, source.Options{})
	ended := processes(t)
	_ = sleeper.Process.Kill()
	_ = sleeper.Wait()
	cmd := exec.Command("/bin/sh", "-c", "for i in 1 2 3 4 5; do (sleep 0.01; true) & done; wait; exec sleep 0")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	stays, in := leaderless(t, "exit 0")
	defer in.Close()
	r.untilExit(cmd.Process.Pid)
	maps.Copy(ended, r.told(event.KindFork))
	before := processes(t)
	maps.DeleteFunc(ended, func(k event.ProcessKey, _ bool) bool { return before[k] })
	if len(ended) < 7 {
		t.Errorf("only %d processes ended", len(ended))
	}
	r.until("exits of all that ended", func() bool {
		exits := r.told(event.KindExit)
		for k := range ended {
			if !exits[k] {
				return false
			}
		}
		return true
	})
	last := exec.Command("/bin/true") // behind the forks of all that are in before
	if err := last.Run(); err != nil {
		t.Fatal(err)
	}
	r.untilExit(last.Process.Pid)
	r.stop()
	r.noGaps()

	after, born := processes(t), r.told(event.KindFork)
	table := map[event.ProcessKey]bool{}
	for pid, p := range r.src.tracker.procs {
		k := event.ProcessKey{Boot: r.boot, PID: pid, Start: p.start}
		table[k] = true
		if ended[k] || !after[k] && !before[k] && !born[k] {
			t.Errorf("%v is remembered and had ended", k)
		}
	}
	for k := range after {
		if before[k] && !table[k] {
			t.Errorf("%v lives and is not remembered", k)
		}
	}
	if k := key(t, r.boot, stays.Process.Pid); !table[k] {
		t.Errorf("%v, without its first thread, is not remembered", k)
	}
	in.Close()
	_ = stays.Wait()
}
