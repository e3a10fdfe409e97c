package procfs

import (
	"bytes"
	"slices"
	"strings"
)

// ParseCgroup decodes /proc/PID/cgroup (cgroups(7)): lines of
// HIERARCHY:CONTROLLERS:PATH. The path is that of the unified hierarchy (v2)
// unless it is the root there; else that of the first v1 hierarchy, in the order
// of v1Order, in which it is not. The container id comes from the path, or, on
// hybrid systems whose unified hierarchy stops at the runtime's service, from that
// of v1. onV1 tells that one of the two rests on v1, where a process on its way out
// is shown in the root. ok is false when there is no line to read. The paths are
// whole only in the host's cgroup namespace: see HostCgroups.
func ParseCgroup(b []byte) (path, containerID string, onV1, ok bool) {
	var v2, v1 []byte
	best := len(v1Order) + 1
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		_, rest, found := bytes.Cut(line, []byte{':'})
		controllers, p, found2 := bytes.Cut(rest, []byte{':'})
		switch {
		case !found || !found2 || len(p) == 0 || p[0] != '/':
		case len(controllers) == 0 && bytes.HasPrefix(line, []byte("0:")):
			// The kernel adds this for a cgroup removed under an exiting process.
			v2 = bytes.TrimSuffix(p, []byte(" (deleted)"))
		default:
			if r := rank(controllers); len(v1) == 0 || len(v1) == 1 && len(p) > 1 || len(p) > 1 && r < best {
				v1, best = p, r
			}
		}
	}
	chosen, other := v2, v1
	if len(v2) <= 1 && len(v1) > 0 {
		chosen, other = v1, nil
	}
	if len(chosen) == 0 {
		return "", "", false, false
	}
	path = string(chosen)
	_, final := containerOf(path)
	onV1 = len(v1) > 0 && (other == nil || !final)
	return path, ContainerID(path, string(other)), onV1, true
}

// v1Order is the order in which put_cgroup in bpf/room.h looks through
// the hierarchies of v1. Named ones and rare controllers come last.
var v1Order = [...]string{"pids", "memory", "cpu", "cpuacct", "cpuset", "devices", "freezer", "blkio"}

// rank is the place of the first of controllers in v1Order.
func rank(controllers []byte) int {
	best := len(v1Order)
	for c := range bytes.SplitSeq(controllers, []byte{','}) {
		if i := slices.Index(v1Order[:], string(c)); i >= 0 {
			best = min(best, i)
		}
	}
	return best
}

// ContainerID finds the id of the innermost container in a cgroup path, or, where it
// ends outside of any, in v1, the path that a hybrid system has beside it: 64 hex
// digits that are a whole level (cgroupfs driver), or a level's last part after
// a '-' as in docker-ID.scope (systemd driver) or a ':' (containerd with the
// systemd driver's name on cgroupfs). It is "" when there is none. conmon watches
// a container from outside: it is in the one, if any, that its own cgroup is in.
func ContainerID(cgroupPath, v1 string) string {
	id, final := containerOf(cgroupPath)
	if !final {
		id, _ = containerOf(v1)
	}
	return id
}

// podParent is where Podman puts pods with the cgroupfs driver, each named by 64 hex
// digits, which are no container's; that of a container has libpod- before them.
const podParent = "/libpod_parent"

// containerOf also tells whether the answer is final.
func containerOf(path string) (id string, final bool) {
	for path != "" {
		i := strings.LastIndexByte(path, '/')
		level := strings.TrimSuffix(path[i+1:], ".scope")
		path = path[:max(i, 0)]
		if len(level) < 64 || !isHex(level[len(level)-64:]) {
			continue
		}
		prefix, id := level[:len(level)-64], level[len(level)-64:]
		switch {
		case strings.HasSuffix(prefix, "conmon-"):
			final = true
		case prefix == "" && strings.HasSuffix(path, podParent):
		case prefix == "" || strings.HasSuffix(prefix, "-") || strings.HasSuffix(prefix, ":"):
			return id, true
		}
	}
	return "", final
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
