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
	for name, c := range map[string]struct {
		in, path, id string
		onV1         bool
	}{
		"v2":             {"0::/user.slice/user-0.slice/session-1.scope\n", "/user.slice/user-0.slice/session-1.scope", "", false},
		"v2 root":        {"0::/\n", "/", "", false},
		"v2 removed":     {"0::/a/b (deleted)\n", "/a/b", "", false},
		"v2 relative":    {"0::/../other\n", "/../other", "", false},
		"v2 with colons": {"0::/a:b:c\n", "/a:b:c", "", false},
		"docker":         {"0::/system.slice/docker-" + id + ".scope\n", "/system.slice/docker-" + id + ".scope", id, false},
		"hybrid, v2 in use": {
			"3:cpu,cpuacct:/user.slice/longer/than/that\n1:name=systemd:/a\n0::/user.slice\n", "/user.slice", "", true,
		},
		"hybrid, v2 at the runtime": {
			"3:pids:/docker/" + id + "\n0::/system.slice/containerd.service\n", "/system.slice/containerd.service", id, true,
		},
		"hybrid, conmon": {
			"3:pids:/docker/" + other + "\n0::/machine.slice/libpod-conmon-" + id + ".scope\n",
			"/machine.slice/libpod-conmon-" + id + ".scope", "", false,
		},
		"hybrid, conmon in a container": {
			"3:pids:/docker/" + id + "\n0::/docker/" + other + "/machine.slice/libpod-conmon-" + id + ".scope\n",
			"/docker/" + other + "/machine.slice/libpod-conmon-" + id + ".scope", other, false,
		},
		"hybrid, v2 at the container": {"3:pids:/\n0::/docker/" + id + "\n", "/docker/" + id, id, false},
		"hybrid, v2 unused":           {"8:pids:/\n4:memory:/process_api/82c4\n1:cpu:/\n0::/\n", "/process_api/82c4", "", true},
		"v1, equal lengths":           {"4:memory:/m\n3:name=systemd:/s\n2:cpu:/c\n1:pids:/p\n", "/p", "", true},
		"v1, all root":                {"4:memory:/\n1:cpu,cpuacct:/\n", "/", "", true},
		"v1, kubernetes":              {"1:name=systemd:/kubepods/burstable/podx/" + id + "\n", "/kubepods/burstable/podx/" + id, id, true},
		"nothing":                     {"", "", "", false},
		"garbage":                     {"0\n0:\n0::\n0::x\n:::", "", "", false},
	} {
		path, cid, onV1, ok := ParseCgroup([]byte(c.in))
		if path != c.path || cid != c.id || onV1 != c.onV1 || ok != (c.path != "") {
			t.Errorf("%s: got %q, %q, %v, %v, want %q, %q, %v", name, path, cid, onV1, ok, c.path, c.id, c.onV1)
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
		"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope":     id,
		"/kubepods.slice/crio-" + id + ".scope":                                   id,
		"/kubepods.slice/crio-" + id + ".scope/container":                         id,
		"/kubepods.slice/crio-conmon-" + id + ".scope":                            "",
		"/machine.slice/libpod-" + id + ".scope/container":                        id,
		"/machine.slice/libpod-conmon-" + id + ".scope":                           "",
		"/libpod_parent/" + other + "/libpod-conmon-" + id:                        "",
		"/libpod_parent/" + other:                                                 "",
		"/libpod_parent/" + other + "/libpod-" + id:                               id,
		"/docker/" + other + "/libpod_parent/" + id + "/libpod-conmon-" + id:      other,
		"/docker/" + other + "/machine.slice/libpod-conmon-" + id + ".scope":      other,
		"/docker-" + other + ".scope/kubepods.slice/crio-conmon-" + id + ".scope": other,
		"/machine.slice/libpod-" + other + ".scope/a/conmon-" + id + "/x":         other,
		"/machine.slice/libpod_pod_" + other + ".slice/libpod-" + id + ".scope":   id,
		"/machine.slice/libpod_pod_" + other + ".slice":                           "",
		"/system.slice/kubepods-podx.slice:cri-containerd:" + id:                  id,
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
