package store

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

// The columns that users were promised, in order; a view may have more behind
// them.
var contract = map[string]string{
	"execs": `seq ts time process exec_no pid ppid parent uid gid euid egid auid user sid tty exe invoked name interpreter args cmdline
		argc args_len truncated cwd comm parent_exe parent_name parent_cmdline ancestors cgroup container_id pid_ns mnt_ns ns_pid dev inode
		nlink fileless deleted gained sha256 source known`,
	"forks":     `seq ts time process pid parent ppid source`,
	"exits":     `seq ts time process pid code signal core duration_ns presumed source`,
	"processes": `process pid ppid parent exe cmdline user uid started ended code signal`,
	"gaps":      `seq ts time until kind lost cause source`,
	"binaries":  `sha256 exe dev inode size mtime first_seen execs last_seen previous`,
	"alerts": `id ts time rule_id rule_name severity state count first_seen last_seen process title evidence
		complete`,
	"runs": `ts time started ended redacted`,
}

func TestViewsHaveTheColumnsOfTheContract(t *testing.T) {
	contract["exec_failures"] = contract["execs"] + " errno error"
	db := open(t, t.TempDir())
	s := session(t, db.o.Dir)
	if len(contract) != len(Views()) {
		t.Fatalf("views %q", Views())
	}
	for _, view := range Views() {
		stmt, _, err := s.Prepare("SELECT * FROM " + view)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range stmt.ColumnCount() {
			got = append(got, stmt.ColumnName(i))
		}
		if !slices.Contains(got, "ts") || !slices.Contains(got, "time") {
			t.Errorf("%s: no ts or time: %q", view, got)
		}
		for _, name := range strings.Fields(contract[view]) {
			i := slices.Index(got, name)
			if i < 0 {
				t.Errorf("%s: no column %s, or not in this order: left %q", view, name, got)
				continue
			}
			if view != "processes" && view != "binaries" && i != 0 {
				t.Errorf("%s: column %s stands %d too late", view, name, i)
			}
			got = slices.Delete(got, i, i+1)
		}
		stmt.Finalize()
	}
}

func TestEnvironmentAndRedaction(t *testing.T) {
	db := open(t, t.TempDir())
	x := execEvent(2, 1, at(1), "/bin/x", "x")
	x.Exec.Env, x.Exec.Redacted, x.Known = "LANG=C\x00BAD=\xff\n\x00", true, x.Known|event.KnownEnv
	failed := execEvent(2, 1, at(2), "/bin/y", "y")
	failed.Kind, failed.Exec.Errno, failed.Known = event.KindExecFailed, 2, failed.Known|event.KnownEnv
	plain := execEvent(2, 1, at(3), "/bin/z", "z")
	plain.Exec.Gained = event.GainedSetuid | event.GainedSetgid | event.GainedCaps
	appendAll(t, db, x, failed, plain)
	want(t, "execs", rows(t, db, "SELECT name, env, redacted, gained FROM execs"),
		`x | ["LANG=C","BAD=\\xff\n"] | 1 | []`, `z | <null> | 0 | ["setuid","setgid","caps"]`)
	want(t, "failures", rows(t, db, "SELECT name, env, redacted, error FROM exec_failures"), "y | [] | 0 | no such file or directory")
}

func TestViewsShowWhatWasStored(t *testing.T) {
	db := open(t, t.TempDir())
	bash := execEvent(2, 1, at(1), "/usr/bin/bash", "-bash")
	cat := execEvent(3, 2, at(3), "/usr/bin/cat", "cat", "/etc/shadow")
	cat.Exec.Invoked, cat.Exec.Interpreter = "./cat", "/lib64/ld.so"
	cat.Exec.Gained, cat.Exec.Deleted, cat.Exec.Fileless = event.GainedSetuid|event.GainedCaps, true, true
	cat.Exec.ContainerID = strings.Repeat("c0", 32)
	cat.Exec.SHA256, cat.Known = strings.Repeat("\xa5", 32), cat.Known|event.KnownSHA256
	cat.Exec.AUID = event.AUIDUnset
	killed := exitEvent(3, at(4), 0, 9)
	killed.Exit.Core, killed.Exit.DurationNS, killed.Known = true, 2_000_000_000, killed.Known|event.KnownDuration
	failed := execEvent(2, 1, at(5), "/root/x", "x")
	failed.Kind, failed.Exec.Errno = event.KindExecFailed, 13
	gap := event.Event{Kind: event.KindGap, Source: event.SourceAgent, Time: at(6), Known: event.KnownLost,
		Gap: &event.Gap{Until: at(7), Of: event.KindExec, Lost: 12, Cause: "queue full"}}
	a := appendAll(t, db, bash, forkEvent(3, 2, at(2)), cat, killed, failed, gap)
	if a != (Appended{FirstSeq: 1, LastSeq: 6, Rows: 6, FirstTS: at(1)}) || db.LastSeq() != 6 {
		t.Errorf("appended %+v, last %d", a, db.LastSeq())
	}

	want(t, "identity", rows(t, db, "SELECT seq, ts, time, process, exec_no, pid, ppid, parent FROM execs"),
		"1 | 1760000001000000000 | 2025-10-09T08:53:21.000000000Z | abcdef01-2-20 | 1 | 2 | 1 | abcdef01-1-10",
		"3 | 1760000003000000000 | 2025-10-09T08:53:23.000000000Z | abcdef01-3-30 | 1 | 3 | 2 | abcdef01-2-20")
	want(t, "program", rows(t, db, "SELECT exe, invoked, name, interpreter, args, cmdline, argc, args_len, truncated, cwd, comm FROM execs WHERE pid = 3"),
		`/usr/bin/cat | ./cat | cat | /lib64/ld.so | ["cat","/etc/shadow"] | cat /etc/shadow | 2 | 16 | 0 | /home/ann | cat`)
	want(t, "who", rows(t, db, "SELECT uid, gid, euid, egid, auid, user, sid, tty FROM execs WHERE pid = 3"),
		"1000 | 1000 | 1000 | 1000 | 4294967295 | ann | 2 | pts/3")
	want(t, "parent", rows(t, db, "SELECT parent_exe, parent_name, parent_cmdline, ancestors FROM execs"),
		"<null> | <null> | <null> | <null>", `/usr/bin/bash | bash | -bash | ["/usr/bin/bash"]`)
	want(t, "where", rows(t, db, "SELECT cgroup, substr(container_id, 1, 4), pid_ns, mnt_ns, ns_pid, dev, inode, nlink FROM execs WHERE pid = 3"),
		"/user.slice | c0c0 | 4026531836 | 4026531840 | 3 | 2050 | 131099 | 1")
	want(t, "file", rows(t, db, "SELECT fileless, deleted, gained, sha256, source FROM execs"),
		"0 | 0 | [] | <null> | ebpf", `1 | 1 | ["setuid","caps"] | `+strings.Repeat("a5", 32)+" | ebpf")
	want(t, "forks", rows(t, db, "SELECT seq, ts, process, pid, parent, ppid, source FROM forks"),
		"2 | 1760000002000000000 | abcdef01-3-30 | 3 | abcdef01-2-20 | 2 | ebpf")
	want(t, "exits", rows(t, db, "SELECT seq, process, pid, code, signal, core, duration_ns, presumed, source FROM exits"),
		"4 | abcdef01-3-30 | 3 | 0 | 9 | 1 | 2000000000 | 0 | ebpf")
	want(t, "failures", rows(t, db, "SELECT process, exec_no, exe, parent, errno, error FROM exec_failures"),
		"abcdef01-2-20 | 1 | /root/x | abcdef01-1-10 | 13 | permission denied")
	want(t, "gaps", rows(t, db, "SELECT * FROM gaps"),
		"6 | 1760000006000000000 | 2025-10-09T08:53:26.000000000Z | 1760000007000000000 | exec | 12 | queue full | agent")
	want(t, "processes", rows(t, db, "SELECT process, pid, ppid, parent, exe, cmdline, user, uid, started, ended, code, signal, execs, name FROM processes ORDER BY pid"),
		"abcdef01-1-10 | 1 | <null> | <null> | <null> | <null> | <null> | <null> | 1760000000100000000 | <null> | <null> | <null> | 0 | <null>",
		"abcdef01-2-20 | 2 | 1 | abcdef01-1-10 | /usr/bin/bash | -bash | ann | 1000 | 1760000000200000005 | <null> | <null> | <null> | 1 | bash",
		"abcdef01-3-30 | 3 | 2 | abcdef01-2-20 | /usr/bin/cat | cat /etc/shadow | ann | 1000 | 1760000002000000000 | 1760000004000000000 | 0 | 9 | 1 | cat")
}

func TestForkByMaker(t *testing.T) {
	db := open(t, t.TempDir())
	child, orphan := forkEvent(4, 2, at(4)), forkEvent(5, 2, at(5))
	for e, maker := range map[*event.Event]uint32{&child: 3, &orphan: 9} {
		e.Known, e.Fork = e.Known|event.KnownMaker, &event.Fork{Maker: key(maker)}
	}
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/a", "a"), forkEvent(3, 2, at(2)), execEvent(3, 2, at(3), "/bin/b", "b"), child, orphan)
	want(t, "made by another than the parent", rows(t, db, "SELECT pid, ppid, exe FROM processes WHERE pid > 3 ORDER BY pid"), "4 | 2 | /bin/b", "5 | 2 | <null>")
}

func TestUnknownIsNull(t *testing.T) {
	db := open(t, t.TempDir())
	x := execEvent(2, 1, at(1), "/usr/bin/bash", "bash")
	x.Known = 0
	failed := x
	failed.Kind = event.KindExecFailed
	fork := forkEvent(9, 2, at(2))
	fork.Known = 0
	exit := exitEvent(9, at(3), 1, 0)
	exit.Known = 0
	gap := event.Event{Kind: event.KindGap, Source: event.SourceEBPF, Time: at(6), Gap: &event.Gap{Until: at(7)}}
	appendAll(t, db, x, failed, fork, exit, gap)
	nulls := func(n int) string { return strings.Repeat(" | <null>", n) }
	want(t, "execs", rows(t, db, "SELECT * FROM execs"),
		"1 | 1760000001000000000 | 2025-10-09T08:53:21.000000000Z | abcdef01-2-20 | 1 | 2"+nulls(37)+" | ebpf | [] | <null> | 0")
	want(t, "exec_failures", rows(t, db, "SELECT process, exe, ppid, args, known FROM exec_failures"), "abcdef01-2-20"+nulls(3)+" | []")
	want(t, "forks", rows(t, db, "SELECT process, parent, ppid FROM forks"), "abcdef01-9-90"+nulls(2))
	want(t, "exits", rows(t, db, "SELECT process, code, signal, core, duration_ns, presumed FROM exits"), "abcdef01-9-90"+nulls(4)+" | 0")
	want(t, "gaps", rows(t, db, "SELECT kind, lost, cause FROM gaps"), "any"+nulls(2))
	want(t, "processes", rows(t, db, "SELECT ppid, parent, exe, uid, code FROM processes WHERE pid = 2"), "<null>"+nulls(4))
}

// What is known to be nothing is not NULL.
func TestKnownEmptyIsNotNull(t *testing.T) {
	db := open(t, t.TempDir())
	x := execEvent(1, 0, at(1), "/sbin/init")
	x.Parent, x.Exec.TTY = event.ProcessKey{}, 0
	appendAll(t, db, x)
	want(t, "init", rows(t, db, "SELECT ppid, parent, ancestors, tty, container_id, args, cmdline, argc, args_len FROM execs"),
		"0 | <null> | [] |  |  | [] |  | 0 | 0")
	want(t, "init", rows(t, db, "SELECT ppid, parent FROM processes"), "0 | <null>")
}

func TestArgumentsAreExact(t *testing.T) {
	for _, args := range [][]string{
		nil, {""}, {"", ""}, {" "}, {"a"}, {"a b"}, {"a", "b"}, {"a", "", "b"}, {"", "a"}, {"a", ""}, {"a ", " b"},
		{"x", "\xff\xfe", "é", "\u2028"}, {"tab\t", "line\nfeed", `quo"te`, `back\slash`, "\x01\x1f\x7f"},
		{"sh", "-c", "echo 'a' | base64 -d"}, {strings.Repeat("long ", 300), "", strings.Repeat("x", 70_000)},
	} {
		db := open(t, t.TempDir())
		appendAll(t, db, execEvent(2, 1, at(1), "/bin/x", args...))
		s := session(t, db.o.Dir)
		stmt, _, err := s.Prepare("SELECT args, cmdline, args_len, argc, truncated FROM execs")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stmt.Step(); err != nil {
			t.Fatal(err)
		}
		x := execEvent(2, 1, 0, "/bin/x", args...)
		if got := stmt.ColumnText(1); got != x.Exec.Cmdline() {
			t.Errorf("%q: cmdline %q", args, got)
		}
		if stmt.ColumnInt64(2) != int64(len(x.Exec.Args)) || stmt.ColumnInt64(3) != int64(len(args)) || stmt.ColumnBool(4) {
			t.Errorf("%q: args_len %d, argc %d", args, stmt.ColumnInt64(2), stmt.ColumnInt64(3))
		}
		checkJSON(t, stmt.ColumnText(0), args)
		stmt.Finalize()
	}
}

// checkJSON compares a JSON array with what it was made of; a byte that is not
// UTF-8 is \xNN.
func checkJSON(t *testing.T, text string, args []string) {
	t.Helper()
	var got []string
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%q: %s: %v", args, text, err)
	}
	if len(got) != len(args) {
		t.Fatalf("%q: got %q", args, got)
	}
	for i := range args {
		if want := visible(args[i]); got[i] != want {
			t.Errorf("argument %d: got %q, want %q", i, got[i], want)
		}
	}
}

func visible(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r == '\ufffd' && !strings.HasPrefix(s[i:], "\ufffd") {
			const hex = "0123456789abcdef"
			b.WriteString(`\x` + string(hex[s[i]>>4]) + string(hex[s[i]&15]))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func FuzzArguments(f *testing.F) {
	for _, s := range []string{"", "\x00", "a\x00b\x00", "a b\x00\x00", "\x00\x00", "\xff\x00 \x00", "a\x00 cut"} {
		f.Add(s, []byte(s))
	}
	f.Fuzz(func(t *testing.T, args string, foreign []byte) {
		x := event.Exec{Args: args}
		splits, needed := appendSplits([]byte{}, args)
		if !needed {
			splits = nil
		}
		if want, got := x.Argv(), splitArgs(x.Cmdline(), splits); !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Fatalf("%q: got %q, want %q, splits %v", args, got, want, splits)
		}
		checkJSON(t, string(event.AppendJSONStrings(nil, x.Argv())), x.Argv())
		splitArgs(args, foreign)
	})
}

func TestTruncatedArguments(t *testing.T) {
	db := open(t, t.TempDir())
	x := execEvent(2, 1, at(1), "/bin/x")
	x.Exec.Args, x.Exec.ArgsLen, x.Exec.Truncated, x.Exec.Argc = "x\x00abc", 70_000, true, 4
	appendAll(t, db, x)
	want(t, "cut", rows(t, db, "SELECT args, cmdline, args_len, truncated, argc FROM execs"), `["x","abc"] | x abc | 70000 | 1 | 4`)
	x.Kind, x.Exec.ArgsLen, x.Exec.Argc = event.KindExecFailed, 0, 0 // nobody has counted them
	appendAll(t, db, x)
	want(t, "cut, not counted", rows(t, db, "SELECT args, args_len, truncated, argc FROM exec_failures"), `["x","abc"] | <null> | 1 | <null>`)
}

func TestUnusedLookupsAreFree(t *testing.T) {
	db := open(t, t.TempDir())
	s := session(t, db.o.Dir)
	for sql, want := range map[string]string{
		"SELECT cmdline, uid FROM execs WHERE ts > 5":                        "SEARCH e USING INTEGER PRIMARY KEY (rowid>?)",
		"SELECT pid, code FROM exits WHERE ts > 5":                           "SEARCH e USING INTEGER PRIMARY KEY (rowid>?)|CORRELATED SCALAR SUBQUERY 4|SEARCH p USING INTEGER PRIMARY KEY (rowid=?)",
		"SELECT uid, count(*) FROM execs WHERE exe = '/bin/sh' GROUP BY uid": "SEARCH x USING COVERING INDEX sqlite_autoindex_strings_1 (s=?)|SCAN e|USE TEMP B-TREE FOR GROUP BY",
		"SELECT ts FROM exits WHERE code = 1 ORDER BY ts DESC LIMIT 3":       "SCAN e",
	} {
		var plan []string
		err := s.Trusted(func() error {
			return query(s.Conn(), "EXPLAIN QUERY PLAN "+sql, func(r *sqlite.Stmt) { plan = append(plan, r.ColumnText(3)) })
		})
		if got := strings.Join(plan, "|"); err != nil || got != want {
			t.Errorf("%s: %v\n got %s\nwant %s", sql, err, got, want)
		}
	}
}
