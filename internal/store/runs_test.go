package store

import "testing"

// Whether a run redacted stays on record, and of a run before there was
// redaction it is not known.
func TestRunsView(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if _, err := db.BeginRun(t.Context(), Begin{Boot: testBoot, At: at(1)}); err != nil {
		t.Fatal(err)
	}
	if err := db.EndRun(t.Context(), End{At: at(2), Covered: at(2)}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	loud, err := Open(t.Context(), Options{Dir: dir, Unredacted: true})
	if err != nil {
		t.Fatal(err)
	}
	defer loud.Close()
	if _, err := loud.BeginRun(t.Context(), Begin{Boot: testBoot, At: at(3)}); err != nil {
		t.Fatal(err)
	}
	if err := execute(loud.conn, "INSERT INTO run_rows(started) VALUES (0)"); err != nil {
		t.Fatal(err)
	}
	want(t, "runs", rows(t, loud, "SELECT started - 1760000000000000000, ended - 1760000000000000000, redacted, ts = started, time FROM runs ORDER BY started"),
		"-1760000000000000000 | <null> | <null> | 1 | 1970-01-01T00:00:00.000000000Z",
		"1000000000 | 2000000000 | 1 | 1 | 2025-10-09T08:53:21.000000000Z",
		"3000000000 | <null> | 0 | 1 | 2025-10-09T08:53:23.000000000Z")
}
