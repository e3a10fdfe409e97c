package store

import "strings"

// dictionary maps strings to their ids in the table strings, and remembers as
// many as fit into max bytes.
type dictionary struct {
	m     map[string]entry
	bytes int
	max   int
	last  int64 // largest id
}

// entry has the dictionary's own copy of the string, which holds no batch in
// memory.
type entry struct {
	id int64
	s  string
}

// entryCost is what an entry takes besides its bytes, about.
const entryCost = 64

// intern returns the id of s, which it stores when it is new.
func (db *DB) intern(s string) (entry, error) {
	d := &db.dict
	if e, ok := d.m[s]; ok {
		return e, nil
	}
	find := db.st.stringFind
	find.BindText(1, s)
	found, err := find.Step()
	if err != nil {
		return entry{}, err
	}
	e := entry{s: strings.Clone(s)}
	if found {
		e.id = find.ColumnInt64(0)
	}
	if err := find.Reset(); err != nil {
		return entry{}, err
	}
	if !found {
		e.id = d.last + 1
		add := db.st.stringAdd
		add.BindInt64(1, e.id)
		add.BindText(2, s)
		if err := step(add); err != nil {
			return entry{}, err
		}
		d.last = e.id
	}
	// Dropping all at once costs a search for each string in use, once; keeping
	// an order of use would cost on each hit.
	if d.bytes+len(s)+entryCost > d.max || d.m == nil {
		d.m, d.bytes = make(map[string]entry), 0
	}
	d.m[e.s] = e
	d.bytes += len(s) + entryCost
	return e, nil
}
