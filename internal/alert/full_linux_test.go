package alert

import (
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
)

// A disk that fills up in the middle of a line: the alert fails whole, and the
// one that is tried again is not glued to its first half.
func TestFileDiskFull(t *testing.T) {
	f := &File{filepath.Join(t.TempDir(), "alerts")}
	if err := f.Deliver(t.Context(), &event.Alert{Title: "first"}); err != nil {
		t.Fatal(err)
	}
	// A limit on the size of files cuts a write as a full disk does.
	signal.Ignore(unix.SIGXFSZ)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 2000, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	long := &event.Alert{Title: strings.Repeat("x", 3000)}
	err := f.Deliver(t.Context(), long)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff([]string{"first"}, titles(t, f.Path)); diff != "" {
		t.Errorf("behind the failure (-want +got):\n%s", diff)
	}
	if err := f.Deliver(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"first", long.Title}, titles(t, f.Path)); diff != "" {
		t.Errorf("tried again (-want +got):\n%s", diff)
	}
}
