package procfs

import (
	"strings"
	"testing"
)

const (
	id    = "3f0e0b7f2a4a1c5b8d9e6f7081927364554637281900abcdef1234567890abcd"
	other = "aaaa0b7f2a4a1c5b8d9e6f7081927364554637281900abcdef1234567890aaaa"
)

func TestParseCgroup(t *testing.T) {
	for name, c := range map[string]struct{ in, path, id string }{
		"v2":             {"0::/user.slice/user-0.slice/session-1.scope\n", "/user.slice/user-0.slice/session-1.scope", ""},
		"v2 root":        {"0::/\n", "/", ""},
		"v2 removed":     {"0::/a/b (deleted)\n", "/a/b", ""},
		"v2 relative":    {"0::/../other\n", "/../other", ""},
		"v2 with colons": {"0::/a:b:c\n", "/a:b:c", ""},
		"docker":         {"0::/system.slice/docker-" + id + ".scope\n", "/system.slice/docker-" + id + ".scope", id},
		"hybrid, v2 in use": {
			"3:cpu,cpuacct:/user.slice/longer/than/that\n1:name=systemd:/a\n0::/user.slice\n", "/user.slice", "",
		},
		"hybrid, v2 at the runtime": {
			"3:pids:/docker/" + id + "\n0::/system.slice/containerd.service\n", "/system.slice/containerd.service", id,
		},
		"hybrid, conmon": {
			"3:pids:/docker/" + other + "\n0::/machine.slice/libpod-conmon-" + id + ".scope\n",
			"/machine.slice/libpod-conmon-" + id + ".scope", "",
		},
		"hybrid, v2 unused": {"8:pids:/\n4:memory:/process_api/82c4\n1:cpu:/\n0::/\n", "/process_api/82c4", ""},
		"v1, equal lengths": {"4:memory:/m\n3:name=systemd:/s\n2:cpu:/c\n1:pids:/p\n", "/p", ""},
		"v1, all root":      {"4:memory:/\n1:cpu,cpuacct:/\n", "/", ""},
		"v1, kubernetes":    {"1:name=systemd:/kubepods/burstable/podx/" + id + "\n", "/kubepods/burstable/podx/" + id, id},
		"nothing":           {"", "", ""},
		"garbage":           {"0\n0:\n0::\n0::x\n:::", "", ""},
	} {
		path, cid, ok := ParseCgroup([]byte(c.in))
		if path != c.path || cid != c.id || ok != (c.path != "") {
			t.Errorf("%s: got %q, %q, %v, want %q, %q", name, path, cid, ok, c.path, c.id)
		}
	}
}

func TestContainerID(t *testing.T) {
	for path, want := range map[string]string{
		"":                                 "",
		"/":                                "",
		"/docker/" + id:                    id,
		"/docker/" + id + "/init":          id,
		"/docker/" + other + "/dind/" + id: id,
		"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope":   id,
		"/kubepods.slice/crio-" + id + ".scope":                                 id,
		"/kubepods.slice/crio-" + id + ".scope/container":                       id,
		"/kubepods.slice/crio-conmon-" + id + ".scope":                          "",
		"/machine.slice/libpod-" + id + ".scope/container":                      id,
		"/machine.slice/libpod-conmon-" + id + ".scope":                         "",
		"/libpod_parent/" + other + "/libpod-conmon-" + id:                      "",
		"/machine.slice/libpod_pod_" + other + ".slice/libpod-" + id + ".scope": id,
		"/machine.slice/libpod_pod_" + other + ".slice":                         "",
		"/system.slice/kubepods-podx.slice:cri-containerd:" + id:                id,
		"/actions_job/" + id:        id,
		"/x/" + strings.ToUpper(id): "",
		"/x/" + id[:63]:             "",
		"/x/" + id + "0":            "",
		"/x/" + id + ".service":     "",
	} {
		if got := ContainerID(path, ""); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}
