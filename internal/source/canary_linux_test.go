package source

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/sentineld/sentineld/internal/testenv"
)

// Without a pid to be had the Go runtime would end the process: no thread is made.
func TestNoCanaryWithoutAPID(t *testing.T) {
	if os.Getenv("SENTINELD_TEST_NO_PID") == "" {
		testenv.NeedRoot(t)
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNoCanaryWithoutAPID$")
		cmd.Env = append(os.Environ(), "SENTINELD_TEST_NO_PID=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := canaryCanLive(); err != nil { // of a thread that ends the runtime makes another one
		t.Error("before:", err)
	}
	testenv.NoPID(t)
	if err := Canary(); !errors.Is(err, ErrNoPID) {
		t.Error("with a limit of one:", err)
	}
}
