package store

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
	"zombiezen.com/go/sqlite"
)

// raw is the C handle below a connection. The driver exposes neither the
// progress handler nor, to an authorizer, the name of a function, and both are
// what stands between a user's SQL and the machine.
type raw struct {
	tls *libc.TLS
	db  uintptr
}

// rawConn takes the handle from two unexported fields of sqlite.Conn. It reads
// them only, checks their types, and an error here means that no session is
// opened.
func rawConn(c *sqlite.Conn) (raw, error) {
	v := reflect.ValueOf(c).Elem()
	tls, db := v.FieldByName("tls"), v.FieldByName("conn")
	if !tls.IsValid() || tls.Type() != reflect.TypeFor[*libc.TLS]() || !db.IsValid() || db.Kind() != reflect.Uintptr {
		return raw{}, fmt.Errorf("this build's SQLite driver is not one that SentinelD knows: %T has no fields tls and conn", c)
	}
	return raw{tls: (*libc.TLS)(tls.UnsafePointer()), db: uintptr(db.Uint())}, nil
}

// rawContext is the C handle below the context of a function's call.
func rawContext(ctx sqlite.Context) (tls *libc.TLS, ptr uintptr, ok bool) {
	v := reflect.ValueOf(ctx)
	t, p := v.FieldByName("tls"), v.FieldByName("ptr")
	if !t.IsValid() || t.Type() != reflect.TypeFor[*libc.TLS]() || !p.IsValid() || p.Kind() != reflect.Uintptr {
		return nil, 0, false
	}
	return (*libc.TLS)(t.UnsafePointer()), uintptr(p.Uint()), true
}

// fail makes a function's call fail with err. The driver (v1.4.2, resultError
// in func.go) loses the code of an error that a function returns, and SQLite
// then takes the message for the result. So the code is set here, and the
// message returned as the result, which is where SQLite looks for it.
func fail(ctx sqlite.Context, err error) (sqlite.Value, error) {
	tls, ptr, ok := rawContext(ctx)
	if !ok {
		return sqlite.Value{}, err
	}
	lib.Xsqlite3_result_error_code(tls, ptr, lib.SQLITE_ERROR)
	return sqlite.TextValue(err.Error()), nil
}

// The two callbacks as SQLite's C declares them.
type (
	progressFunc  func(tls *libc.TLS, arg uintptr) int32
	authorizeFunc func(tls *libc.TLS, arg uintptr, op int32, arg1, arg2, db, accessor uintptr) int32
)

// setProgress has f called every ops steps of SQLite's virtual machine; a
// result other than 0 stops the statement. The garbage collector does not see
// SQLite's reference, so that the caller keeps f as long as the connection is
// open, in the pointed-to variable.
func (r raw) setProgress(ops int32, f *progressFunc) {
	lib.Xsqlite3_progress_handler(r.tls, r.db, ops, *(*uintptr)(unsafe.Pointer(f)), 0)
}

// setAuthorizer installs f; it is kept as for setProgress.
func (r raw) setAuthorizer(f *authorizeFunc) error {
	if rc := lib.Xsqlite3_set_authorizer(r.tls, r.db, *(*uintptr)(unsafe.Pointer(f)), 0); rc != lib.SQLITE_OK {
		return fmt.Errorf("set authorizer: %w", sqlite.ResultCode(rc).ToError())
	}
	return nil
}

// setDefensive is SQLITE_DBCONFIG_DEFENSIVE, which takes two arguments
// (sqlite.org/c3ref/c_dbconfig_defensive.html). The driver's SetDefensive (v1.4.2)
// passes one, and SQLite writes to where what lies behind it in memory points.
func setDefensive(c *sqlite.Conn) error {
	r, err := rawConn(c)
	if err != nil {
		return err
	}
	args := libc.NewVaList(int32(1), uintptr(0))
	if args == 0 {
		return errors.New("set defensive: out of memory")
	}
	defer libc.Xfree(r.tls, args)
	if rc := lib.Xsqlite3_db_config(r.tls, r.db, lib.SQLITE_DBCONFIG_DEFENSIVE, args); rc != lib.SQLITE_OK {
		return fmt.Errorf("set defensive: %w", sqlite.ResultCode(rc).ToError())
	}
	return nil
}
