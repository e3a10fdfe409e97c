package store

import (
	"strconv"
	"sync"
	"testing"
)

// Readers see whole batches and never one less than before.
func TestReadersBesideTheWriter(t *testing.T) {
	db := open(t, t.TempDir())
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Add(1)
		s, err := OpenSession(t.Context(), db.o.Dir, SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer readers.Done()
			defer s.Close()
			last := 0
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := sessionRows(s, "SELECT count(*) FROM execs")
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(got[0])
				if n%50 != 0 || n < last {
					t.Errorf("%d rows after %d", n, last)
				}
				last = n
			}
		}()
	}
	for i := range 100 {
		appendAll(t, db, mix(i*50, 50)...)
		db.SetCursor("x", int64(i))
		db.Stats()
	}
	close(done)
	readers.Wait()
}
