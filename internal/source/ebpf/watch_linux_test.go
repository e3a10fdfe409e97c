//go:build linux && (amd64 || arm64)

package ebpf

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
)

// A host at rest is not a lost source, however often it is looked after.
func TestProgramsAreAlive(t *testing.T) {
	s := start(t, Options{}).src.(*ring)
	for range 5 {
		if err := s.check(nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Programs that do not run any more end the source, with what they saw before.
func TestSilentProgramsEndTheSource(t *testing.T) {
	for name, provoke := range map[string]func(*ring) error{
		"detached": func(s *ring) error { return s.links[len(s.links)-1].Close() },
		"silent":   func(s *ring) error { return s.collections[0].Variables["canary_tgid"].Set(int32(-1)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, Options{})
			s := r.src.(*ring)
			cmd := exec.Command("/bin/true")
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			if err := provoke(s); err != nil {
				t.Fatal(err)
			}
			err := s.check(nil)
			if err == nil {
				t.Fatal("nothing was noticed")
			}
			s.lose(err)
			deadline := time.After(10 * time.Second)
			for open := true; open; {
				select {
				case batch, ok := <-s.Events():
					r.all, open = append(r.all, batch...), ok
				case <-deadline:
					t.Fatal("the source did not end")
				}
			}
			if !errors.Is(s.Err(), err) {
				t.Errorf("Err = %v, want %v", s.Err(), err)
			}
			if len(r.of(cmd.Process.Pid)) == 0 {
				t.Error("what was seen before is lost")
			}
			if waiting, size := s.Backlog(); waiting != 0 || size != s.RingBytes {
				t.Errorf("backlog %d of %d", waiting, size)
			}
		})
	}
}

// Programs that Close detaches are not taken for lost.
func TestCloseIsNoLoss(t *testing.T) {
	r := start(t, Options{})
	s := r.src.(*ring)
	looked := make(chan error)
	for range 2 {
		go func() {
			for {
				err := s.check(nil)
				if err != nil || s.stopping() {
					looked <- err
					return
				}
			}
		}()
	}
	if err := s.detach(); err != nil { // as Close begins
		t.Fatal(err)
	}
	for range 3 {
		if err := s.check(nil); err != nil {
			t.Errorf("while it closes: %v", err)
		}
	}
	r.stop()
	for range 2 {
		if err := <-looked; err != nil {
			t.Errorf("beside Close: %v", err)
		}
	}
}

// A file with the kernel's types stands in for the kernel's own.
func TestBTFFile(t *testing.T) {
	own, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		start(t, Options{}) // says what is missing
	}
	path := filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(path, own, 0o600); err != nil {
		t.Fatal(err)
	}
	e := recordExec(t, Options{Options: source.Options{BTF: path}}, exec.Command("/bin/true"))
	if !e.Known.Has(event.KnownExe | event.KnownFileTimes) {
		t.Errorf("known %v", e.Known.Names())
	}
	if err := os.WriteFile(path, []byte("no types"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Options: source.Options{BTF: path}}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("of a file without types: %v", err)
	}
}
