package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCodecRoundTrip(t *testing.T) {
	c := Codec{Boot: testBoot}
	rapid.Check(t, func(t *rapid.T) {
		var all []Event
		var b []byte
		for range rapid.IntRange(1, 4).Draw(t, "events") {
			e := drawEvent(t)
			all = append(all, e)
			b = c.Append(b, &e)
		}
		for i, want := range all {
			var got Event
			var err error
			if b, err = c.Decode(b, &got); err != nil {
				t.Fatalf("event %d: %v", i, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("event %d (-put +got):\n%s", i, diff)
			}
		}
		if len(b) != 0 {
			t.Fatalf("%d bytes are left", len(b))
		}
	})
}

// The user's name is the agent's to look up; it must not come from procmond.
func TestUserIsNotEncoded(t *testing.T) {
	e, got := full(KindExec), Event{}
	if _, err := (Codec{testBoot}).Decode(Codec{testBoot}.Append(nil, &e), &got); err != nil {
		t.Fatal(err)
	}
	if got.Exec.User != "" {
		t.Errorf("User = %q", got.Exec.User)
	}
}

// Every cut of an event is an error, never another event.
func TestDecodeCut(t *testing.T) {
	c := Codec{Boot: testBoot}
	for _, k := range []Kind{KindExec, KindFork, KindExit, KindExecFailed, KindGap, KindHash} {
		e := full(k)
		b := c.Append(nil, &e)
		for n := range b {
			var got Event
			if _, err := c.Decode(b[:n], &got); !errors.Is(err, ErrCodec) {
				t.Fatalf("%s cut after %d of %d bytes: %v", k, n, len(b), err)
			}
		}
	}
}

func TestDecodeOutOfRange(t *testing.T) {
	fork := func(pid string) string { return "\x02\x01\x00\x00" + pid + "\x00\x00\x00\x00" }
	gap := func(of string) string { return "\x05\x01\x00\x00\x00\x00\x00\x00\x00" + "\x00" + of + "\x00\x00" }
	failed := func(errno string) string {
		return "\x04\x01\x00\x00\x01\x01\x00\x00\x00" + strings.Repeat("\x00", 8+7+1+2+1+6+4+1+1) + errno
	}
	for _, test := range []struct {
		name, in string
		ok       bool
	}{
		{"largest pid", fork("\xff\xff\xff\xff\x0f"), true},
		{"pid of 33 bits", fork("\x80\x80\x80\x80\x10"), false},
		{"number of 65 bits", fork("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"), false},
		{"gap of any kind", gap("\x00"), true},
		{"gap of the last kind", gap("\x06"), true},
		{"gap of a kind that does not exist", gap("\x07"), false},
		{"errno", failed("\x04"), true},
		{"least errno", failed("\xff\xff\xff\xff\x0f"), true},
		{"errno of 33 bits", failed("\x80\x80\x80\x80\x10"), false},
		{"no kind", "\x00" + fork("\x01")[1:], false},
		{"kind of the future", "\x07" + fork("\x01")[1:], false},
		{"nothing", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var e Event
			rest, err := Codec{}.Decode([]byte(test.in), &e)
			if (err == nil) != test.ok || err != nil && !errors.Is(err, ErrCodec) || len(rest) != 0 {
				t.Errorf("rest %q, error %v; want ok = %v", rest, err, test.ok)
			}
		})
	}
}

// A length that claims more than there is must not be believed.
func TestDecodeHugeString(t *testing.T) {
	gap := []byte("\x05\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc")
	allocs := testing.AllocsPerRun(10, func() {
		var e Event
		if _, err := (Codec{}).Decode(gap, &e); !errors.Is(err, ErrCodec) {
			t.Fatal(err)
		}
	})
	if allocs > 10 {
		t.Errorf("%v allocations", allocs)
	}
}

func FuzzDecode(f *testing.F) {
	c := Codec{Boot: testBoot}
	for i := range goldenEvents {
		f.Add(c.Append(nil, &goldenEvents[i]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Event
		rest, err := c.Decode(b, &e)
		if err != nil {
			if !errors.Is(err, ErrCodec) {
				t.Fatalf("error %v is not ErrCodec", err)
			}
			return
		}
		if !bytes.HasSuffix(b, rest) || len(rest) == len(b) {
			t.Fatalf("rest is %d of %d bytes", len(rest), len(b))
		}
		var again Event
		if _, err := c.Decode(c.Append(nil, &e), &again); err != nil {
			t.Fatalf("decode what was decoded: %v", err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatalf("(-first +second):\n%s", diff)
		}
		if j := AppendJSON(nil, &e); !json.Valid(j) {
			t.Fatalf("not JSON: %s", j)
		}
	})
}

// shown is what AppendJSONString promises to show, read back from the JSON.
func shown(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

func FuzzJSONString(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c/", "\x00\x01\x1b\x1f\n\r\t\x7f", "\xff\xc3", "é\u2028\ufffd😀", "\xed\xa0\x80", `\xff`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := AppendJSONStrings([]byte{}, []string{s, s})
		if bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("a control character in %q: it would break the line", b)
		}
		var got []string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		if want := shown(s); len(got) != 2 || got[0] != want || got[1] != want {
			t.Fatalf("%q shows as %q, want %q", s, got, want)
		}
	})
}

func TestJSONStringsOfNothing(t *testing.T) {
	if got := string(AppendJSONStrings([]byte("x"), nil)); got != "x[]" {
		t.Errorf("nil = %s", got)
	}
}

func BenchmarkCodec(b *testing.B) {
	c := Codec{Boot: testBoot}
	var buf []byte
	for b.Loop() {
		buf = buf[:0]
		for i := range goldenEvents {
			buf = c.Append(buf, &goldenEvents[i])
		}
		for rest := buf; len(rest) > 0; {
			var e Event
			var err error
			if rest, err = c.Decode(rest, &e); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportAllocs()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(goldenEvents)), "ns/event")
}

func BenchmarkJSON(b *testing.B) {
	var buf []byte
	for b.Loop() {
		buf = AppendJSON(buf[:0], &goldenEvents[0])
	}
	b.ReportAllocs()
}
