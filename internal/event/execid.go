package event

// LayoutRandom is set in a Layout whose addresses were drawn anew for its exec.
const LayoutRandom = 1

// ExecID tells one exec of a process from the next without its arguments, which a
// program may rewrite (setproctitle). Of its fields 0 is not known.
type ExecID struct{ Layout, Dev, Inode uint64 }

// ExecID is that of an exec event.
func (e *Event) ExecID() ExecID {
	x, id := e.Exec, ExecID{Layout: e.Exec.Layout}
	if !e.Known.Has(KnownFile) || id.Layout == 0 && !e.Known.Has(KnownArgs) {
		return id // without either it may be half way through an exec: the file is the next one's
	}
	id.Inode = x.Inode
	if e.Source != SourceEBPF { // its device is the superblock's, which stat(2) does not show on btrfs and some overlays
		id.Dev = x.Dev
	}
	return id
}

// Differs reports whether i and o cannot be of one exec.
func (i ExecID) Differs(o ExecID) bool {
	differ := func(a, b uint64) bool { return a != 0 && b != 0 && a != b }
	return differ(i.Layout, o.Layout) || differ(i.Dev, o.Dev) || differ(i.Inode, o.Inode)
}

// Same reports whether i and o are of one exec, with a chance below 1 in a million
// to be wrong. Where both this and Differs say no, the layout is hidden, or the same
// each time: executable and arguments have to tell. A program can say that it is
// where the one before was, so the file has a say.
func (i ExecID) Same(o ExecID) bool {
	return i.Layout&LayoutRandom != 0 && i.Layout == o.Layout && !i.Differs(o)
}
