package event

import "testing"

func TestExecID(t *testing.T) {
	const random, fixed = uint64(0x1235), uint64(0x1234)
	exec := func(source Source, known Known, layout, dev, inode uint64) ExecID {
		e := Event{Kind: KindExec, Source: source, Known: known, Exec: &Exec{Layout: layout, Dev: dev, Inode: inode}}
		return e.ExecID()
	}
	whole := func(layout, dev, inode uint64) ExecID {
		return exec(SourceSnapshot, KnownArgs|KnownFile, layout, dev, inode)
	}
	for name, c := range map[string]struct {
		a, b          ExecID
		differs, same bool
	}{
		"one exec":                    {whole(random, 1, 2), whole(random, 1, 2), false, true},
		"its file is hidden":          {whole(random, 1, 2), whole(random, 0, 0), false, true},
		"another exec of one file":    {whole(random, 1, 2), whole(random+2, 1, 2), true, false},
		"a forged layout":             {whole(random, 1, 2), whole(random, 1, 3), true, false},
		"on another device":           {whole(random, 1, 2), whole(random, 3, 2), true, false},
		"the layout is hidden":        {whole(random, 1, 2), whole(0, 1, 2), false, false},
		"hidden, and a replaced file": {whole(random, 1, 2), whole(0, 1, 3), true, false},
		"a fixed layout":              {whole(fixed, 1, 2), whole(fixed, 1, 2), false, false},
		"fixed layouts of two sizes":  {whole(fixed, 1, 2), whole(fixed+2, 1, 2), true, false},
		"random no more":              {whole(random, 1, 2), whole(fixed, 1, 2), true, false},
		"nothing":                     {ExecID{}, whole(random, 1, 2), false, false},
		"two names for a device":      {exec(SourceEBPF, KnownArgs|KnownFile, random, 7, 2), whole(random, 1, 2), false, true},
		"half way through an exec":    {whole(random, 1, 2), exec(SourceSnapshot, KnownFile, 0, 1, 3), false, false},
		"without arguments":           {whole(random, 1, 2), exec(SourceSnapshot, KnownFile, random, 1, 3), true, false},
		"a file that is not known":    {whole(0, 1, 2), exec(SourceSnapshot, KnownArgs, 0, 1, 3), false, false},
	} {
		if c.a.Differs(c.b) != c.differs || c.b.Differs(c.a) != c.differs || c.a.Same(c.b) != c.same || c.b.Same(c.a) != c.same {
			t.Errorf("%s: %+v and %+v: differs %v, same %v", name, c.a, c.b, c.a.Differs(c.b), c.a.Same(c.b))
		}
	}
}
