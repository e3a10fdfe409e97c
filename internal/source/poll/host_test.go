package poll

import (
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

func TestBootID(t *testing.T) {
	at := time.Unix(1_700_000_400, 0)
	a := bootIDOf(at, "host")
	if a != bootIDOf(at.Add(3*time.Second), "host") || a == bootIDOf(at.Add(time.Hour), "host") || a == bootIDOf(at, "other") {
		t.Error("a boot id holds neither too much nor too little")
	}
	if a[6]>>4 != 8 || a[8]>>6 != 2 {
		t.Errorf("not a UUID of version 8: %v", a)
	}
	b, err := hashedBootID(t.Context())
	c, err2 := HostBootID(t.Context())
	if err != nil || err2 != nil || b == c || b == (event.BootID{}) || c == (event.BootID{}) {
		t.Errorf("%v, %v, %v, %v", b, c, err, err2)
	}
}

func TestSetIDs(t *testing.T) {
	three := []uint32{1, 2, 3}
	for goos, want := range map[string]event.Known{
		"linux": event.KnownUID | event.KnownEUID, "freebsd": event.KnownUID, "openbsd": event.KnownUID,
	} {
		e := event.Event{Exec: &event.Exec{}}
		setIDs(goos, &e, three, three)
		if e.Known != want || e.Exec.UID != 1 || e.Exec.EGID != 2 && want.Has(event.KnownEUID) {
			t.Errorf("%s: %v, %+v", goos, e.Known.Names(), e.Exec)
		}
	}
	e := event.Event{Exec: &event.Exec{}}
	setIDs("darwin", &e, []uint32{501}, three)
	if e.Known != event.KnownEUID || e.Exec.EUID != 501 || e.Exec.EGID != 2 {
		t.Errorf("darwin: %v, %+v", e.Known.Names(), e.Exec)
	}
	e = event.Event{Exec: &event.Exec{}}
	if setIDs("windows", &e, nil, nil); e.Known != 0 {
		t.Errorf("windows: %v", e.Known.Names())
	}
}
