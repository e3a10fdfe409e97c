package procfs

import "testing"

func TestSelectEnv(t *testing.T) {
	const environ = "PATH=/bin\x00LANG=C\x00LD_PRELOAD=/x.so\x00EMPTY=\x00no variable\x00LANG=de=AT\x00=odd\x00"
	for _, tt := range []struct {
		environ string
		names   []string
		want    string
	}{
		{environ, nil, ""},
		{environ, []string{"LANG"}, "LANG=C\x00LANG=de=AT\x00"},
		{environ, []string{"LD_*", "EMPTY"}, "LD_PRELOAD=/x.so\x00EMPTY=\x00"},
		{environ, []string{"lang", "LAN", "LANGUAGE"}, ""},
		{environ, []string{"*"}, "PATH=/bin\x00LANG=C\x00LD_PRELOAD=/x.so\x00EMPTY=\x00LANG=de=AT\x00=odd\x00"},
		{"", []string{"*"}, ""},
		{"A=1\x00B=cut", []string{"*"}, "A=1\x00"},
		{"\x00\x00A=1\x00", []string{"A"}, "A=1\x00"},
	} {
		if got := SelectEnv([]byte(tt.environ), tt.names); got != tt.want {
			t.Errorf("%q of %q = %q, want %q", tt.names, tt.environ, got, tt.want)
		}
	}
}
