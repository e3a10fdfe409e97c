package scenario

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	held     = 64 << 20
	holdName = "SENTINELD_TEST_HOLD"
)

// TestMemory: the peaks of an agent and of its child count together, also when what
// they had is given back.
func TestMemory(t *testing.T) {
	if os.Getenv(holdName) != "" {
		hold(t)
		return
	}
	a := &Service{}
	if err := a.Memory(1 << 40); err == nil {
		t.Error("of an agent that does not run")
	}
	cmd := holder(t, "parent")
	a.cmd = cmd
	if err := a.Memory(2 * (held + 50<<20)); err != nil {
		t.Error(err)
	}
	if err := a.Memory(2 * held); err == nil || strings.Count(err.Error(), "exe ") != 2 {
		t.Errorf("%v, want that two programs had more than %d bytes", err, 2*held)
	}
}

// holder is a process that has had held bytes, and what it says.
func holder(t *testing.T, kind string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestMemory$")
	cmd.Env = append(os.Environ(), holdName+"="+kind)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q %v", line, err)
	}
	return cmd
}

// hold is what a holder does: a parent starts another one.
func hold(t *testing.T) {
	if os.Getenv(holdName) == "parent" {
		holder(t, "child")
	}
	b, err := unix.Mmap(-1, 0, held, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	if err := unix.Munmap(b); err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}
