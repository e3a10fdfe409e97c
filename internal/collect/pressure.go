package collect

import (
	"bytes"
	"strconv"
)

// stallTotal reads how long some process waited, in microseconds, from
// /proc/pressure/cpu: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", then
// "full ..." (Documentation/accounting/psi.rst).
func stallTotal(b []byte) (uint64, bool) {
	line, _, _ := bytes.Cut(b, []byte{'\n'})
	rest, ok := bytes.CutPrefix(line, []byte("some "))
	_, total, found := bytes.Cut(rest, []byte("total="))
	v, err := strconv.ParseUint(string(total), 10, 64)
	return v, ok && found && err == nil
}
