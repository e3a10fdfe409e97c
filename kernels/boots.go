package main

import (
	"fmt"
	"regexp"
)

// boot is one start of a guest: what its kernel and procmond meet, and what must
// come of it.
type boot struct {
	name     string
	series   string   // the only kernel that it is for; "": one of those chosen
	kernel   string   // added to the kernel's command line
	cgroup   string   // hierarchies that are mounted: v2 (default), v1, hybrid
	scope    []string // cgroups the watched process is put into, below the mount
	user     bool     // procmond runs as nobody
	noBTF    bool     // the kernel's BTF is hidden
	btfFile  bool     // and given to procmond as a file
	lockdown bool     // lockdown is raised while procmond runs
	want     []want
}

// want is a fact that the guest reports and what it must look like.
type want struct{ fact, pattern string }

// suite is the boot that every kernel gets: all tests, or those that were chosen.
const suite = "suite"

// scopes end in a container's id, as Docker's do.
const container = "3c1d9ae04b8f7e65d2c0b1a99f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c"

// boots are the starts under particular conditions.
var boots = []boot{
	{
		name: "lockdown=confidentiality", kernel: "lockdown=confidentiality",
		want: []want{
			{"lockdown", `^confidentiality$`},
			{"refused ebpf", `lockdown.*confidentiality`},
			{"source", `^procconn\b`},
			{"exec", `^procconn \[`},
			{"self-check", `^exit 3: .*lockdown`},
		},
	}, {
		name: "lockdown=integrity", kernel: "lockdown=integrity",
		want: []want{
			{"lockdown", `^integrity$`},
			{"source", `^ebpf tp_btf$`},
			{"exec", `^ebpf \[`},
			{"self-check", `^exit 0: `},
		},
	}, {
		name: "no BTF", noBTF: true,
		want: []want{
			{"refused ebpf", `BTF`},
			{"source", `^procconn\b`},
			{"exec", `^procconn \[`},
			{"self-check", `^exit 3: .*BTF`},
		},
	}, {
		name: "BTF from a file", noBTF: true, btfFile: true,
		want: []want{
			{"source", `^ebpf raw_tp\b`},
			{"exec", `^ebpf \[`},
		},
	}, {
		name: "unprivileged user", user: true,
		want: []want{
			{"refused ebpf", `needs CAP_BPF and CAP_PERFMON`},
			{"source", `^poll\b`},
			{"exec", `^poll \[`},
			{"self-check", `^exit 3: .*CAP_BPF`},
		},
	}, {
		name: "cgroup v2", cgroup: "v2", scope: []string{"lab.slice/docker-" + container + ".scope"},
		want: []want{
			{"exec", `^ebpf \[`},
			{"cgroup", `^/lab\.slice/docker-` + container + `\.scope, that of 0::`},
			{"container", "^" + container + "$"},
		},
	}, {
		name: "cgroup v1", cgroup: "v1", scope: []string{"pids/docker/" + container, "memory/other"},
		want: []want{
			{"exec", `^ebpf \[`},
			{"cgroup", `^/docker/` + container + `, that of \d+:pids:`},
			{"container", "^" + container + "$"},
		},
	}, {
		// Debian's kernels from 6.12 on have memory for v2 alone.
		name: "cgroup v1, by memory", series: "6.1", cgroup: "v1", scope: []string{"memory/docker/" + container},
		want: []want{
			{"exec", `^ebpf \[`},
			{"cgroup", `^/docker/` + container + `, that of \d+:memory:`},
			{"container", "^" + container + "$"},
		},
	}, {
		name: "cgroup hybrid", cgroup: "hybrid", scope: []string{"unified/lab.slice/docker-" + container + ".scope", "pids/other"},
		want: []want{
			{"exec", `^ebpf \[`},
			{"cgroup", `^/lab\.slice/docker-` + container + `\.scope, that of 0::`},
			{"container", "^" + container + "$"},
		},
	}, {
		name: "cgroup hybrid, by v1", cgroup: "hybrid", scope: []string{"pids/docker/" + container},
		want: []want{
			{"exec", `^ebpf \[`},
			{"cgroup", `^/docker/` + container + `, that of \d+:pids:`},
			{"container", "^" + container + "$"},
		},
	}, {
		name: "cgroup hybrid, v2 at the runtime", cgroup: "hybrid", scope: []string{"unified/system.slice/containerd.service", "pids/docker/" + container},
		want: []want{
			{"exec", `^ebpf \[`},
			{"cgroup", `^/system\.slice/containerd\.service, that of 0::`},
			{"container", "^" + container + "$"},
		},
	}, {
		// Debian's 5.10 checks lockdown when a program is loaded, as kernels from
		// 5.13 on do, not at each read: what runs goes on and reads everything.
		name: "lockdown at run time", series: "5.10", lockdown: true,
		want: []want{
			{"lockdown", `^confidentiality$`},
			{"source", `^ebpf tp_btf$`},
			{"exec", `^ebpf \[`},
			{"exec under lockdown", `^ebpf \["/init" "park" "locked"\]$`},
		},
	},
}

// bootNamed is the boot that the host and the guest mean by a name.
func bootNamed(name string) (boot, error) {
	if name == suite {
		return boot{name: suite}, nil
	}
	for _, b := range boots {
		if b.name == name {
			return b, nil
		}
	}
	return boot{}, fmt.Errorf("no boot is named %q", name)
}

// judge lists what the facts of a boot lack.
func (b boot) judge(facts map[string]string) (wrong []string) {
	for _, w := range b.want {
		got, ok := facts[w.fact]
		switch {
		case !ok:
			wrong = append(wrong, w.fact+": not reported")
		case !regexp.MustCompile(w.pattern).MatchString(got):
			wrong = append(wrong, fmt.Sprintf("%s: %q does not match %s", w.fact, got, w.pattern))
		}
	}
	return wrong
}
