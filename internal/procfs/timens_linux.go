package procfs

import (
	"errors"
	"os"
	"strings"
)

// HostClock is why this program is shown other starts of processes than the kernel
// has, nil if it is not: in a time namespace with an offset (time_namespaces(7)) that
// is in field 22 of /proc/PID/stat and in the boot clock, and not in what BPF programs
// and the process connector tell. It cannot be taken out again: a start is cut to
// ticks behind it.
func HostClock() error {
	b, err := os.ReadFile("/proc/self/timens_offsets")
	if errors.Is(err, os.ErrNotExist) { // before Linux 5.6
		return nil
	} else if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) != 3 || f[1] != "0" || f[2] != "0" {
			return errors.New("this is not the host's time namespace, so that the starts of processes are not the kernel's (enter the host's: nsenter -t 1 -T PROGRAM)")
		}
	}
	return nil
}
