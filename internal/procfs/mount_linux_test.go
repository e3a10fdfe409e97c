package procfs

import (
	"strings"
	"testing"
)

const mounts = "21 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n" +
	"122 21 0:5 / /dev\\040x rw shared:2 - devtmpfs dev rw\n"

// A mount is missing only from a list that is whole.
func TestMisses(t *testing.T) {
	for _, test := range []struct {
		list string
		id   uint64
		want bool
	}{
		{mounts, 5, true}, {mounts, 21, false}, {mounts, 122, false}, {mounts, 12, true}, {mounts, 1, true}, {mounts, 22, true},
		{"", 5, false}, // it has ended
		{"122 21 0:5 / /dev rw - devtmpfs dev rw\n", 5, false}, // below a directory that is its root
		{mounts + "7 21", 5, false},
		{mounts + strings.Repeat("8 21 0:5 / /x rw - tmpfs t rw\n", readMax/30), 5, false}, // there may be more
	} {
		if got := misses([]byte(test.list), test.id); got != test.want {
			t.Errorf("%d in %.80q: missing %v", test.id, test.list, got)
		}
	}
}

func FuzzMisses(f *testing.F) {
	f.Add([]byte(mounts), uint64(5))
	f.Fuzz(func(t *testing.T, list []byte, id uint64) {
		if misses(list, id) && !strings.Contains(string(list), " /") {
			t.Errorf("%q has no root", list)
		}
	})
}
