package event

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// constants lists the constants of a type that a file declares, also those that
// take the type of the line above.
func constants(t *testing.T, file, typ string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		current := ""
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); ok {
				current = id.Name
			} else if len(v.Values) > 0 {
				current = ""
			}
			if current == typ {
				for _, n := range v.Names {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}

// columns has the members of the JSON form that each bit brings, where they are
// not its names. Time is always shown: the bit tells what it means.
var columns = map[Known][]string{
	KnownTime:   {},
	KnownStart:  {"start_ns"},
	KnownParent: {"parent", "ppid"},
	KnownArgs:   {"args", "argc", "args_len", "truncated"},
}

// full is an event of a kind with nothing at its zero value.
func full(k Kind) Event {
	e := Event{Kind: k, Source: SourceEBPF, Time: 1, Process: ProcessKey{testBoot, 2, 3}, StartNS: 4, Parent: ProcessKey{testBoot, 5, 6}}
	switch k {
	case KindExec, KindExecFailed:
		e.Exec = &Exec{
			UID: 1, GID: 1, EUID: 1, EGID: 1, AUID: 1, SID: 1, TTY: 1025, Argc: 1, Exe: "a", Invoked: "a", Interpreter: "a", Cwd: "a",
			Comm: "a", Cgroup: "a", Args: "a\x00", ArgsLen: 2, Truncated: true, ContainerID: "a", PIDNS: 1, MntNS: 1, NSPID: 1, Dev: 1,
			Inode: 1, Nlink: 1, Fileless: true, Deleted: true, Gained: 7, SHA256: "a", User: "a",
			Size: 1, MTime: 1, CTime: 1, Layout: 1, Env: "A=b\x00", Redacted: true,
		}
	case KindFork:
		e.Fork = &Fork{Maker: ProcessKey{testBoot, 7, 8}}
	case KindExit:
		e.Exit = &Exit{Code: 1, Signal: 1, Core: true, Presumed: true, DurationNS: 1}
	case KindGap:
		e.Gap = &Gap{Until: 1, Of: KindExec, Lost: 1, Cause: "a"}
	case KindHash:
		e.Hash = &Hash{ExecTime: 1, SHA256: "a", Exe: "a", Dev: 1, Inode: 1, Size: 1, MTime: 1}
	}
	return e
}

func members(t interface{ Fatalf(string, ...any) }, e *Event) map[string]any {
	var m map[string]any
	b := AppendJSON(nil, e)
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return m
}

// Each bit brings exactly its own columns into the JSON, whatever the values of
// the other fields are.
func TestKnownBits(t *testing.T) {
	kinds := map[Known]Kind{KnownMaker: KindFork, KnownCode: KindExit, KnownDuration: KindExit, KnownLost: KindGap}
	for bit, names := range knownNames {
		k := Known(1) << bit
		if got := k.Names(); !slices.Equal(got, names) || len(names) == 0 {
			t.Errorf("Names of bit %d = %q", bit, got)
		}
		kind, ok := kinds[k]
		if !ok {
			kind = KindExec
		}
		want, ok := columns[k]
		if !ok {
			want = names
		}
		e := full(kind)
		with, without := e, e
		with.Known = k
		got := members(t, &with)
		for name := range members(t, &without) {
			delete(got, name)
		}
		if list := slices.Sorted(maps.Keys(got)); !slices.Equal(list, slices.Sorted(slices.Values(want))) {
			t.Errorf("bit %d (%q) brings %q, want %q", bit, names, list, want)
		}
	}
}

func TestKnownHas(t *testing.T) {
	k := KnownUID | KnownEUID
	if !k.Has(KnownUID) || !k.Has(k) || !k.Has(0) || k.Has(KnownUID|KnownSID) || k.Has(KnownSID) {
		t.Error("Has wants all of the fields")
	}
	if got := k.Names(); !slices.Equal(got, []string{"uid", "gid", "euid", "egid"}) {
		t.Errorf("Names = %q", got)
	}
	if got := Known(0).Names(); got == nil || len(got) != 0 {
		t.Errorf("Names of nothing = %#v, want an empty list", got)
	}
	if got := Known(1 << 63).Names(); len(got) != 0 {
		t.Errorf("Names of a bit of the future = %q", got)
	}
}

// Whatever the bytes are, the JSON is valid, has each member once, and has none
// that is not known.
func TestJSONOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		m := members(t, &e)
		if again := append(AppendJSON([]byte("[1,"), &e), ']'); !json.Valid(again) {
			t.Fatalf("not valid behind other bytes: %s", again)
		}
		for bit, names := range knownNames {
			k := Known(1) << bit
			if e.Known.Has(k) || e.Kind == KindHash { // which has all it has, always
				continue
			}
			if list, ok := columns[k]; ok {
				names = list
			}
			for _, n := range names {
				if _, ok := m[n]; ok {
					t.Fatalf("%s is shown but not known", n)
				}
			}
		}
	})
}
