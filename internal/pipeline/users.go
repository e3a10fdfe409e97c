package pipeline

import (
	"os/user"
	"strconv"
	"time"
)

// Users looks up the names of uids. Answers, the absent ones too, are kept for
// a minute, so that a new account shows soon. Not safe for concurrent use.
type Users struct {
	names map[uint32]userName // bounded by usersMax: emptied when full
	now   func() time.Time
}

type userName struct {
	name string
	ok   bool
	at   time.Time
}

const (
	usersMax = 4096
	userTTL  = time.Minute
)

// Lookup returns the name of uid on this host.
func (u *Users) Lookup(uid uint32) (string, bool) {
	if u.now == nil {
		u.now = time.Now
	}
	now := u.now()
	if n, ok := u.names[uid]; ok && now.Sub(n.at) < userTTL {
		return n.name, n.ok
	}
	if u.names == nil || len(u.names) >= usersMax {
		u.names = map[uint32]userName{}
	}
	n := userName{at: now}
	if found, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		n.name, n.ok = found.Username, true
	}
	u.names[uid] = n
	return n.name, n.ok
}
