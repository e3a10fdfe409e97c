package event

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// TickNS is the length of the tick that starts are quantised to: USER_HZ is 100
// on every architecture that Linux and Go have in common, so /proc/PID/stat
// field 22 counts units of 10 ms (proc_pid_stat(5)).
const TickNS = 10_000_000

// BootID tells one boot of a machine from every other
// (/proc/sys/kernel/random/boot_id on Linux).
type BootID [16]byte

// ParseBootID reads the usual text form of a UUID, with or without dashes.
func ParseBootID(s string) (BootID, error) {
	var id BootID
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), "-", ""))
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("parse boot id %q: want 32 hex digits", s)
	}
	copy(id[:], raw)
	return id, nil
}

func (b BootID) String() string { return hex.EncodeToString(b[:]) }

// ProcessKey is the identity of a process: no two processes share one, not
// after pid reuse and not after a reboot, and it survives exec. It is equal
// whichever source it came from, since all of them quantise the start to the
// tick that /proc shows (see TicksOf). The zero value is no process.
//
// BUG: two processes that got one pid and started in the same tick have one key.
// It takes clone3 with set_tid, a small pid_max, or ns_last_pid. Where the exact
// start is known, the events of the second are told as gaps.
type ProcessKey struct {
	Boot  BootID
	PID   uint32 // thread group id in the initial pid namespace
	Start uint64 // ticks of TickNS on the boot clock
}

// TicksOf quantises a start on the boot clock in nanoseconds to the tick that
// /proc/PID/stat shows for it (kernel: nsec_to_clock_t, which rounds down).
func TicksOf(startNS uint64) uint64 { return startNS / TickNS }

// IsZero reports whether k names no process.
func (k ProcessKey) IsZero() bool { return k.PID == 0 && k.Start == 0 }

// String is BOOT-PID-START: the first eight hex digits of the boot id, then
// the pid and the start in ticks, both decimal. It is empty for no process.
func (k ProcessKey) String() string {
	if k.IsZero() {
		return ""
	}
	b := make([]byte, 0, 40)
	b = hex.AppendEncode(b, k.Boot[:4])
	b = append(b, '-')
	b = strconv.AppendUint(b, uint64(k.PID), 10)
	b = append(b, '-')
	return string(strconv.AppendUint(b, k.Start, 10))
}

// TTYName is the name below /dev of a terminal's device number as in
// /proc/PID/stat field 7 (minor in bits 0 to 7 and 20 to 31, major in bits 8
// to 15), "" for none, and MAJOR:MINOR for one without a well-known name.
func TTYName(dev uint32) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case dev == 0:
		return ""
	case major >= 136 && major <= 143: // Unix98 pty slaves, devices.txt
		return "pts/" + strconv.Itoa(int((major-136)<<8|minor))
	case major == 4 && minor < 64:
		return "tty" + strconv.Itoa(int(minor))
	case major == 4:
		return "ttyS" + strconv.Itoa(int(minor-64))
	case major == 5 && minor == 1:
		return "console"
	}
	return fmt.Sprintf("%d:%d", major, minor)
}
