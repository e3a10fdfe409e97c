package store

import (
	"fmt"
	"testing"

	"github.com/sentineld/sentineld/internal/event"
)

// mix makes n processes that fork, exec and exit, as a busy build host has
// them, from process first on.
func mix(first, n int) []event.Event {
	exes := [...]string{"/usr/bin/gcc", "/usr/bin/bash", "/usr/bin/sed", "/usr/bin/make", "/usr/lib/gcc/x86_64-linux-gnu/13/cc1", "/usr/bin/git", "/usr/bin/grep", "/usr/bin/env"}
	batch := make([]event.Event, 0, 3*n)
	for i := first; i < first+n; i++ {
		pid := uint32(1000 + i%30000)
		k := event.ProcessKey{Boot: testBoot, PID: pid, Start: uint64(i)}
		ts := bootNS + int64(i)*1_000_000
		parent := key(uint32(2 + i%50))
		f := forkEvent(pid, 2, ts)
		f.Process, f.Parent = k, parent
		x := execEvent(pid, 2, ts+300_000, exes[i%len(exes)], "tool", "-c", fmt.Sprintf("/home/ann/src/project/file%d.c", i), "-o", "out.o")
		x.Process, x.Parent = k, parent
		z := exitEvent(pid, ts+900_000, 0, 0)
		z.Process = k
		batch = append(batch, f, x, z)
	}
	return batch
}

func cpu() int64 {
	return cpuOf(0)
}

func BenchmarkAppend(b *testing.B) {
	db := open(b, b.TempDir())
	var parents []event.Event
	for i := range 50 {
		parents = append(parents, execEvent(uint32(2+i), 1, bootNS, "/usr/bin/bash", "bash", "-c", fmt.Sprint(i)))
	}
	appendAll(b, db, parents...)
	const perBatch = 333
	batches := make([][]event.Event, b.N)
	for i := range batches {
		batches[i] = mix(i*perBatch, perBatch)
		if i == 300 {
			break
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	start := cpu()
	rows := 0
	for i := range b.N {
		if batches[i] == nil {
			b.StopTimer()
			used := cpu()
			batches[i] = mix(i*perBatch, perBatch)
			start += cpu() - used
			b.StartTimer()
		}
		rows += appendAll(b, db, batches[i]...).Rows
		batches[i] = nil
	}
	b.StopTimer()
	used := cpu() - start
	b.ReportMetric(float64(used)/1000/float64(rows), "cpu-us/row")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1000/float64(rows), "us/row")
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(db.Stats().Bytes)/float64(rows), "B/row")
}

// Queries over 333,000 processes.
func BenchmarkQuery(b *testing.B) {
	db := open(b, b.TempDir())
	for i := range 1000 {
		appendAll(b, db, mix(i*333, 333)...)
	}
	s := session(b, db.o.Dir)
	for _, bench := range [...]struct{ name, sql string }{
		{"exe", "SELECT count(*) FROM execs WHERE exe = '/usr/bin/git'"},
		{"cmdline LIKE", "SELECT count(*) FROM execs WHERE cmdline LIKE '%file9999.c%'"},
		{"cmdline REGEXP", `SELECT count(*) FROM execs WHERE cmdline REGEXP 'file99+\.c'`},
		{"parent_exe LIKE", "SELECT count(*) FROM execs WHERE parent_exe LIKE '%/bash'"},
		{"group", "SELECT exe, count(*) FROM execs GROUP BY exe"},
		{"process", "SELECT count(*) FROM execs WHERE process = 'abcdef01-1234-234'"},
		{"newest 100", "SELECT * FROM execs ORDER BY ts DESC LIMIT 100"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := sessionRows(s, bench.sql); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
