package procfs

import "strings"

// SelectEnv keeps the variables whose names are asked for of an environment:
// NAME=VALUE, each followed by a NUL, in their order. A name in names that ends
// in '*' stands for all that begin like it. What has no '=' is not a variable.
func SelectEnv(environ []byte, names []string) string {
	var kept []byte
	for len(environ) > 0 {
		var v []byte
		for i, c := range environ {
			if c == 0 {
				v, environ = environ[:i+1], environ[i+1:]
				break
			}
		}
		if v == nil { // cut, or overwritten by its owner
			break
		}
		if wanted(v, names) {
			kept = append(kept, v...)
		}
	}
	return string(kept)
}

func wanted(v []byte, names []string) bool {
	name, _, ok := strings.Cut(string(v), "=")
	if !ok {
		return false
	}
	for _, n := range names {
		if prefix, any := strings.CutSuffix(n, "*"); n == name || any && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
