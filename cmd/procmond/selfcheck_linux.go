package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/sentineld/sentineld/internal/procfs"
)

// systemFacts are what decides whether eBPF and the process connector can be used.
func systemFacts() []fact {
	var facts []fact
	add := func(name, value string, ok *bool) { facts = append(facts, fact{name, value, ok}) }

	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		add("kernel", unix.ByteSliceToString(u.Release[:]), nil)
	}
	if st, err := os.Stat("/sys/kernel/btf/vmlinux"); err == nil {
		add("btf", fmt.Sprintf("/sys/kernel/btf/vmlinux, %d bytes", st.Size()), yes(true))
	} else {
		add("btf", "none: "+err.Error()+" (a kernel with CONFIG_DEBUG_INFO_BTF has it)", yes(false))
	}
	mode, readable := lockdown("/sys/kernel/security")
	add("lockdown", mode, readable)
	if b, err := os.ReadFile("/proc/sys/kernel/unprivileged_bpf_disabled"); err == nil {
		add("unpriv. bpf", map[string]string{"0": "allowed", "1": "disabled for good", "2": "disabled"}[strings.TrimSpace(string(b))], nil)
	}

	cgroups := "the host's"
	if err := procfs.HostCgroups(); err != nil {
		cgroups = err.Error()
	}
	add("cgroup ns", cgroups, yes(procfs.HostCgroups() == nil))

	set := cap.GetProc()
	for _, c := range []struct {
		value cap.Value
		need  string
	}{
		{cap.BPF, "to load programs"}, {cap.PERFMON, "to attach them"},
		{cap.NET_ADMIN, "to listen to the process connector"},
		{cap.SYS_PTRACE, "to see other users' executables in the snapshot"},
	} {
		have, err := set.GetFlag(cap.Effective, c.value)
		value := c.need
		if err != nil {
			value += ": " + err.Error()
		}
		add(strings.ToUpper(c.value.String()), value, yes(have && err == nil))
	}
	return facts
}

// lockdown is the kernel's lockdown mode (kernel_lockdown(7)) as securityfs in dir
// tells it, and whether programs may read the kernel's memory in it; nil = not known.
func lockdown(dir string) (mode string, readable *bool) {
	b, err := os.ReadFile(dir + "/lockdown")
	if err != nil {
		var fs unix.Statfs_t
		switch mounted := unix.Statfs(dir, &fs) == nil && uint32(fs.Type) == unix.SECURITYFS_MAGIC; {
		case !mounted:
			return "not known: securityfs is not mounted on " + dir, nil
		case !errors.Is(err, os.ErrNotExist):
			return "not known: " + err.Error(), nil
		}
		return "none: the kernel cannot be locked down", yes(true)
	}
	_, mode, _ = strings.Cut(string(b), "[")
	mode, _, _ = strings.Cut(mode, "]")
	return mode, yes(mode != "confidentiality")
}

func yes(b bool) *bool { return &b }
