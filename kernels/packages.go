package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// keyring signs what is downloaded; it comes with every Debian.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// listsAge is how long apt's lists are taken for current.
const listsAge = 24 * time.Hour

// userland is what the guest has beside our own programs: the shell and the
// tools of a Debian host, from the one suite, since the libraries must match.
var userland = []string{
	"busybox-static", "coreutils", "dash", "bash", "libc6",
	"libacl1", "libattr1", "libgmp10", "libpcre2-8-0", "libselinux1", "libtinfo6",
}

const userlandSuite = "bookworm"

// archive is Debian's archive for one architecture, read through an apt
// configuration of its own: nothing of it is installed, and the host's packages
// and sources stay as they are.
type archive struct {
	arch string // Debian's name, which is Go's for those we know
	dir  string
	conf string
}

// openArchive configures apt below dir. The mirror is the host's own.
func openArchive(ctx context.Context, arch, dir, mirror string, suites []string) (*archive, error) {
	a := &archive{arch: arch, dir: dir, conf: filepath.Join(dir, "apt.conf")}
	if _, err := os.Stat(keyring); err != nil {
		return nil, fmt.Errorf("check signatures of packages: %w (install debian-archive-keyring)", err)
	}
	for _, d := range []string{"lists/partial", "archives/partial", "none"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	var sources strings.Builder
	for _, s := range suites {
		fmt.Fprintf(&sources, "deb [signed-by=%s] %s %s main\n", keyring, mirror, s)
	}
	conf := strings.NewReplacer("DIR", dir, "ARCH", arch).Replace(`
Dir::Etc::SourceList "DIR/sources.list";
Dir::Etc::SourceParts "DIR/none";
Dir::Etc::Preferences "DIR/preferences";
Dir::Etc::PreferencesParts "DIR/none";
Dir::State::Lists "DIR/lists";
Dir::State::status "DIR/status";
Dir::State::extended_states "DIR/extended_states";
Dir::Cache "DIR";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
APT::Architecture "ARCH";
#clear APT::Architectures;
APT::Architectures { "ARCH"; };
APT::Default-Release "";
APT::Sandbox::User "root";
Acquire::Languages "none";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
`)
	changed := false
	for name, content := range map[string]string{"apt.conf": conf, "sources.list": sources.String(), "status": "", "preferences": ""} {
		path := filepath.Join(dir, name)
		if old, err := os.ReadFile(path); err == nil && string(old) == content {
			continue
		}
		changed = true
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	stamp := filepath.Join(dir, "updated")
	if st, err := os.Stat(stamp); err == nil && !changed && time.Since(st.ModTime()) < listsAge {
		return a, nil
	}
	return a, a.update(ctx, stamp)
}

func (a *archive) update(ctx context.Context, stamp string) error {
	if _, err := a.apt(ctx, "", "apt-get", "-qq", "update"); err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// apt runs one of apt's programs under the private configuration.
func (a *archive) apt(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"-c", a.conf}, args...)...)
	cmd.Dir = dir
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}

// mirror is where the host's own apt finds Debian.
func mirror(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt for its mirror: %w", err)
	}
	for uri := range strings.FieldsSeq(string(out)) {
		if strings.HasSuffix(uri, "/debian/") {
			return uri, nil
		}
	}
	return "", fmt.Errorf("apt of this host has no source that ends in /debian (name one: -mirror http://HOST/debian)")
}

// A release is the version in a kernel package's name: 6.1.0-50, 7.3.4.
var kernelPackage = regexp.MustCompile(`^linux-image-(([0-9]+)\.([0-9]+)[0-9.]*(?:-[0-9]+)?)(?:\+[a-z0-9]+)?-cloud-[a-z0-9]+$`)

// kernelName is how a kernel is asked for: 6.1, newest, arm64-6.1.
var kernelName = regexp.MustCompile(`^(?:(amd64|arm64)-)?([0-9]+\.[0-9]+|newest)$`)

// choose picks the latest kernel package of a series ("6.1", "newest").
func choose(packages []string, series string) (string, bool) {
	best, bestVersion := "", []int(nil)
	for _, p := range packages {
		m := kernelPackage.FindStringSubmatch(p)
		if m == nil || series != "newest" && series != m[2]+"."+m[3] {
			continue
		}
		if v := numbers(m[1]); slices.Compare(v, bestVersion) > 0 {
			best, bestVersion = p, v
		}
	}
	return best, best != ""
}

func numbers(version string) (v []int) {
	for f := range strings.FieldsFuncSeq(version, func(r rune) bool { return r == '.' || r == '-' }) {
		n, err := strconv.Atoi(f)
		if err != nil {
			n = -1 // longer than any number of a kernel
		}
		v = append(v, n)
	}
	return v
}

// seriesOf lists what could have been asked for.
func seriesOf(packages []string) []string {
	var list []string
	for _, p := range packages {
		if m := kernelPackage.FindStringSubmatch(p); m != nil {
			list = append(list, m[2]+"."+m[3])
		}
	}
	slices.SortFunc(list, func(a, b string) int { return slices.Compare(numbers(a), numbers(b)) })
	return slices.Compact(list)
}

// kernel finds and unpacks the latest kernel of a series and returns its image.
func (a *archive) kernel(ctx context.Context, series string) (image string, err error) {
	out, err := a.apt(ctx, "", "apt-cache", "search", "--names-only", "^linux-image-[0-9].*-cloud-"+a.arch+"$")
	if err != nil {
		return "", err
	}
	var packages []string
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(line, " ")
		packages = append(packages, name)
	}
	p, ok := choose(packages, series)
	if !ok {
		return "", fmt.Errorf("no kernel %s for %s in the archive (it has: %s)", series, a.arch, strings.Join(seriesOf(packages), " "))
	}
	dir := filepath.Join(filepath.Dir(filepath.Dir(a.dir)), p)
	for _, p := range []string{p, strings.Replace(p, "linux-image-", "linux-binary-", 1)} { // split since 7.0
		if image, err := findImage(dir); err != nil || image != "" {
			return image, err
		}
		if err := a.unpack(ctx, dir, p); err != nil {
			return "", err
		}
	}
	if image, err = findImage(dir); err == nil && image == "" {
		err = fmt.Errorf("package %s: there is no vmlinuz in it", p)
	}
	return image, err
}

// findImage looks for the one kernel in an unpacked package: boot/vmlinuz-RELEASE,
// and usr/lib/modules/RELEASE/vmlinuz since 7.0.
func findImage(dir string) (string, error) {
	for _, pattern := range []string{"boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"} {
		found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return "", nil
}

// release is the kernel release that the path of an image names.
func release(image string) string {
	if r, ok := strings.CutPrefix(filepath.Base(image), "vmlinuz-"); ok {
		return r
	}
	return filepath.Base(filepath.Dir(image))
}

// unpack downloads packages ("name" or "name/suite") and unpacks them over dir.
func (a *archive) unpack(ctx context.Context, dir string, names ...string) error {
	to := filepath.Join(a.dir, "deb")
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(to)
	download := append([]string{"-qq", "download"}, names...)
	if _, err := a.apt(ctx, to, "apt-get", download...); err != nil {
		// The archive may have moved on since the lists were read.
		if err := a.update(ctx, filepath.Join(a.dir, "updated")); err != nil {
			return err
		}
		if _, err := a.apt(ctx, to, "apt-get", download...); err != nil {
			return err
		}
	}
	debs, err := filepath.Glob(filepath.Join(to, "*.deb"))
	if err != nil || len(debs) != len(names) {
		return fmt.Errorf("download %s: got %d files: %v", strings.Join(names, " "), len(debs), err)
	}
	files := filepath.Join(to, "files")
	for _, deb := range debs {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, files).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w\n%s", deb, err, out)
		}
	}
	for _, d := range []string{"lib/modules", "usr/share"} { // nothing of these is used
		if err := os.RemoveAll(filepath.Join(files, filepath.FromSlash(d))); err != nil {
			return err
		}
	}
	return merge(files, dir)
}

// merge moves the files of one tree into another.
func merge(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return os.Rename(path, filepath.Join(to, rel))
	})
}

// userland unpacks the guest's programs and returns their directory.
func (a *archive) userland(ctx context.Context) (string, error) {
	dir := filepath.Join(a.dir, "userland")
	done := filepath.Join(dir, "unpacked")
	want := strings.Join(userland, "\n")
	if b, err := os.ReadFile(done); err == nil && string(b) == want {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	var names []string
	for _, p := range userland {
		names = append(names, p+"/"+userlandSuite)
	}
	if err := a.unpack(ctx, dir, names...); err != nil {
		return "", err
	}
	return dir, os.WriteFile(done, []byte(want), 0o644)
}

// tool is a program of the host and the Debian package that has it.
type tool struct{ program, pkg string }

// needTools looks for tools. In CI it installs what is missing.
func needTools(ctx context.Context, tools []tool) error {
	var missing []string
	for _, t := range tools {
		if _, err := exec.LookPath(t.program); err != nil {
			missing = append(missing, strings.Fields(t.pkg)...)
		}
	}
	slices.Sort(missing)
	missing = slices.Compact(missing)
	if len(missing) == 0 {
		return nil
	}
	if os.Getenv("CI") != "true" || os.Geteuid() != 0 {
		return fmt.Errorf("missing packages: %[1]s (apt-get install --no-install-recommends %[1]s)", strings.Join(missing, " "))
	}
	for _, args := range [][]string{{"-qq", "update"}, append([]string{"-qq", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "install"}, missing...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", cmp.Or(args[len(args)-1], "update"), err, out)
		}
	}
	return nil
}
