package pipeline

import (
	"os/user"
	"strconv"
	"testing"
	"time"
)

func TestUsers(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip("no current user: ", err)
	}
	uid, err := strconv.ParseUint(me.Uid, 10, 32)
	if err != nil {
		t.Skip("uids are no numbers here")
	}
	now := time.Now()
	u := Users{now: func() time.Time { return now }}
	const nobody = 4_000_000_001
	for range 2 {
		if name, ok := u.Lookup(uint32(uid)); name != me.Username || !ok {
			t.Errorf("Lookup(%d) = %q, %v, want %q", uid, name, ok, me.Username)
		}
		if name, ok := u.Lookup(nobody); name != "" || ok {
			t.Errorf("Lookup of nobody = %q, %v", name, ok)
		}
	}

	// Both answers are kept for a minute: changed ones show that they are.
	u.names[uint32(uid)] = userName{"kept", true, now}
	u.names[nobody] = userName{"new account", true, now.Add(-userTTL)}
	now = now.Add(userTTL - 1)
	if name, _ := u.Lookup(uint32(uid)); name != "kept" {
		t.Errorf("within a minute: %q", name)
	}
	if _, ok := u.Lookup(nobody); ok {
		t.Error("an answer is older than a minute")
	}
	now = now.Add(1)
	if name, _ := u.Lookup(uint32(uid)); name != me.Username {
		t.Errorf("after a minute: %q", name)
	}

	for i := range uint32(usersMax + 10) {
		u.names[100+i] = userName{at: now}
		if len(u.names) >= usersMax {
			break
		}
	}
	u.Lookup(nobody + 1)
	if len(u.names) != 1 {
		t.Errorf("%d names are kept beyond the bound of %d", len(u.names), usersMax)
	}
	if _, ok := (&Users{}).Lookup(nobody); ok {
		t.Error("the zero value knows nobody")
	}
}
