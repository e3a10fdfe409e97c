package main

import "fmt"

// hashFlags bound the hashing of executables.
type hashFlags struct {
	HashRate int64 `help:"Bytes of executables hashed a second, on average, at least 65536; 0 hashes none (default ${default})." default:"67108864" placeholder:"BYTES"`
	HashMax  int64 `help:"Size of the largest executable that is hashed, at least 4096 (default ${default})." default:"536870912" placeholder:"BYTES"`
}

// Validate is called by kong.
func (f hashFlags) Validate() error {
	switch {
	case f.HashRate != 0 && (f.HashRate < 64<<10 || f.HashRate > 1<<30):
		return fmt.Errorf("--hash-rate=%d: want 0, or 65536 to 1073741824", f.HashRate)
	case f.HashMax < 4096 || f.HashMax > 1<<30:
		return fmt.Errorf("--hash-max=%d: want 4096 to 1073741824", f.HashMax)
	}
	return nil
}
