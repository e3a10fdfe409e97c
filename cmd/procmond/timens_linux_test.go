package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/testenv"
)

// TestTimeNamespace: where /proc moves the starts of processes no source runs, lest
// each process have two names; in a time namespace without an offset all do.
func TestTimeNamespace(t *testing.T) {
	testenv.NeedRoot(t)
	unshare, err := exec.LookPath("unshare")
	if err == nil {
		err = exec.Command(unshare, "-T", "--boottime", "1", "--fork", "true").Run()
	}
	if err != nil {
		testenv.Skip(t, "needs Linux 5.6 and unshare of util-linux 2.36: "+err.Error())
	}
	in := func(flags ...string) func(*exec.Cmd) {
		return func(c *exec.Cmd) {
			c.Args = append(append([]string{"unshare", "-T", "--kill-child"}, flags...), append([]string{"--fork", c.Path}, c.Args[1:]...)...)
			c.Path = unshare
		}
	}
	for _, offset := range []string{"--boottime", "--monotonic"} {
		for _, source := range []string{"auto", "ebpf", "procconn", "poll"} {
			p := start(t, in(offset, "100000"), "run", "--output", "json", "--source", source)
			const want = "this is not the host's time namespace, so that the starts of processes are not the kernel's (enter the host's: nsenter -t 1 -T PROGRAM)"
			if code := p.end(t, 20*time.Second); code != 1 || !strings.Contains(p.log.String(), want) {
				t.Errorf("%s, %s: exit %d:\n%s", offset, source, code, p.log)
			}
		}
	}
	p := start(t, in(), "self-check", "--source", "poll")
	if code := p.end(t, 20*time.Second); code != 0 {
		t.Errorf("without an offset: exit %d:\n%s", code, p.log)
	}
}
