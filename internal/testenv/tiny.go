package testenv

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TinyProgram writes the smallest static Linux program, which does nothing but
// exit(0), into dir and returns its path: what a load executes when only the
// kernel's work for an exec shall count.
func TinyProgram(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "tiny")
	image, ok := TinyELF(runtime.GOARCH)
	if !ok {
		Skip(t, "there is no tiny program for "+runtime.GOARCH)
	}
	if err := os.WriteFile(path, image, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TinyELF is the program's file for an architecture: an ELF header, one program
// header (elf(5)) and the instructions.
func TinyELF(arch string) ([]byte, bool) {
	var machine uint16
	var code []byte
	switch arch {
	case "amd64":
		machine, code = 62, []byte{0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05} // xor edi,edi; mov eax,60; syscall
	case "arm64":
		machine, code = 183, []byte{0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4} // mov x0,0; mov x8,93; svc 0
	default:
		return nil, false
	}
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(code))
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...) // 64 bit, little-endian, version 1
	b = le.AppendUint16(b, 2)                                      // ET_EXEC
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+headers) // entry
	b = le.AppendUint64(b, 64)           // program headers
	b = le.AppendUint64(b, 0)            // no sections
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // readable, executable
	for _, v := range []uint64{0, base, base, size, size, 0x10000} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...), true
}
