package collect

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

func TestSumCacheKeepsWhatWasUsedLast(t *testing.T) {
	c := sumCache{max: 3}
	id := func(n uint64) fileID { return fileID{inode: n} }
	if _, ok := c.get(id(1), 1); ok {
		t.Error("found in an empty cache")
	}
	c.put(id(1), "one", always)
	c.put(id(2), "two", always)
	c.put(id(3), "three", always)
	c.get(id(1), 1)
	c.put(id(3), "drei", always)
	c.put(id(4), "four", always) // in place of 2
	for n, want := range map[uint64]string{1: "one", 2: "", 3: "drei", 4: "four"} {
		if got, ok := c.get(id(n), 1); got != want || ok != (want != "") {
			t.Errorf("%d: %q %v, want %q", n, got, ok, want)
		}
	}
	c.put(id(1), "uno", 7)
	for n, want := range map[uint64]bool{1: true, 7: true, 8: false, always: false} {
		if got, ok := c.get(id(1), n); got != "uno" || ok != want {
			t.Errorf("for the %dth: %q %v, want %v", n, got, ok, want)
		}
	}
	for n := range uint64(1000) {
		c.put(id(n), "x", always)
	}
	if len(c.m) != 3 {
		t.Errorf("%d entries", len(c.m))
	}
	n := 0
	for s := c.last.next; s != &c.last; s = s.next {
		n++
	}
	if n != 3 {
		t.Errorf("%d in the order of use", n)
	}
}

func TestLimiterHoldsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter{rate: 1000, at: time.Now()}
		began := time.Now()
		for range 100 {
			if err := l.take(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d < 9900*time.Millisecond || d > 10100*time.Millisecond {
			t.Errorf("10,000 at 1,000 a second took %v", d)
		}
		time.Sleep(time.Hour) // the bubble's clock: a pause saves up no more than a burst
		began = time.Now()
		for range 10 {
			_ = l.take(t.Context(), 100)
		}
		if d := time.Since(began); d < 700*time.Millisecond || d > 800*time.Millisecond {
			t.Errorf("1,000 after a pause took %v", d)
		}
	})
}

func TestStallTotal(t *testing.T) {
	for text, want := range map[string]uint64{
		"some avg10=94.27 avg60=58.87 avg300=27.41 total=172640545\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n": 172640545,
		"some avg10=0.00 avg60=0.00 avg300=0.00 total=7":                                                              7,
	} {
		if got, ok := stallTotal([]byte(text)); !ok || got != want {
			t.Errorf("%q: %d %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "some", "full total=1", "some total=", "some total=-1\n", "some avg10=1 total=1x"} {
		if got, ok := stallTotal([]byte(text)); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func FuzzStallTotal(f *testing.F) {
	f.Add([]byte("some avg10=0.00 avg60=0.00 avg300=0.00 total=7\nfull total=1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, ok := stallTotal(b); ok && !strings.Contains(string(b), "total=") {
			t.Errorf("%q", b)
		}
	})
}

func TestHashSkipNames(t *testing.T) {
	for s := range NumHashSkips {
		if s.String() == "" {
			t.Errorf("reason %d has no name", s)
		}
	}
}

// BenchmarkHashRemembered is what hashing costs an exec of a known file.
func BenchmarkHashRemembered(b *testing.B) {
	h := newHasher(HashOptions{Rate: 1})
	batch := make([]event.Event, 256)
	execs := make([]event.Exec, len(batch))
	for i := range batch {
		execs[i] = event.Exec{Dev: 1, Inode: uint64(1 + i), Size: 1, MTime: 1, CTime: 1}
		batch[i] = event.Event{Kind: event.KindExec, Exec: &execs[i]}
		h.cache.put(fileIDOf(&execs[i]), strings.Repeat("x", 32), always)
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			execs[i].SHA256, batch[i].Known = "", event.KnownFile|event.KnownFileTimes
		}
		h.add(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/exec")
	if h.stats().Waiting != 0 {
		b.Fatal("not remembered")
	}
}

func TestHashRememberedAllocatesNothing(t *testing.T) {
	h := newHasher(HashOptions{Rate: 1})
	x := event.Exec{Dev: 1, Inode: 1}
	h.cache.put(fileIDOf(&x), "sum", always)
	batch := []event.Event{{Kind: event.KindExec, Exec: &x}}
	if n := testing.AllocsPerRun(100, func() {
		x.SHA256, batch[0].Known = "", event.KnownFile|event.KnownFileTimes
		h.add(batch)
	}); n != 0 || x.SHA256 != "sum" {
		t.Errorf("%v allocations", n)
	}
}
