package store

import (
	"fmt"
	"slices"
	"strings"

	"modernc.org/libc"
	"zombiezen.com/go/sqlite"
)

// Views lists what rules and queries can read.
func Views() []string { return slices.Clone(viewNames[:]) }

// Functions lists the functions that rules and queries can call.
func Functions() []string {
	list := []string{"regexp"}
	for _, f := range functions {
		list = append(list, f.name)
	}
	return append(list, strings.Fields(allowedFunctions)[2:]...) // but for the operators -> and ->>
}

var viewNames = [...]string{
	"execs", "exec_failures", "forks", "exits", "processes", "gaps", "binaries", "alerts", "runs",
}

// viewTables are the tables that the views rest on.
var viewTables = [...]string{
	"boots", "strings", "procs", "exec_rows", "failure_rows", "fork_rows", "exit_rows", "gap_rows",
	"binary_rows", "alert_rows", "run_rows",
}

// mainTables names the view that each table is the rows of.
var mainTables = map[string]string{
	"exec_rows": "execs", "failure_rows": "exec_failures", "fork_rows": "forks", "exit_rows": "exits", "procs": "processes",
	"gap_rows": "gaps", "binary_rows": "binaries", "alert_rows": "alerts", "run_rows": "runs",
}

// engineTables are the virtual tables of SQLite and of its shell that look
// into the engine or the file system.
var engineTables = [...]string{"bytecode", "tables_used", "dbstat", "completion", "fsdir", "fts3tokenize", "zipfile"}

// tableFunctions are the table-valued functions that take no file, table or
// setting.
var tableFunctions = [...]string{"json_each", "json_tree"}

// allowedFunctions are SQLite's functions without effects, besides ours.
const allowedFunctions = `
	-> ->> abs changes char coalesce concat concat_ws format glob hex if ifnull iif instr last_insert_rowid length
	like likelihood likely lower ltrim max min nullif octet_length printf quote random randomblob replace round rtrim
	sign soundex sqlite_version substr substring total_changes trim typeof unhex unicode unistr unistr_quote unlikely upper zeroblob
	avg count group_concat median percentile percentile_cont percentile_disc string_agg sum total
	date time datetime julianday unixepoch strftime timediff current_date current_time current_timestamp
	json jsonb json_array jsonb_array json_array_length json_array_insert jsonb_array_insert json_error_position
	json_extract jsonb_extract json_insert jsonb_insert json_object jsonb_object json_patch jsonb_patch json_pretty
	json_quote json_remove jsonb_remove json_replace jsonb_replace json_set jsonb_set json_type json_valid
	json_group_array jsonb_group_array json_group_object jsonb_group_object
	acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2 mod pi pow power
	radians sin sinh sqrt tan tanh trunc
	row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value`

// authorizer decides what a session's SQL may do. It stays installed as long
// as the connection is open, since SQLite asks again whenever it prepares a
// statement anew, and installing one makes it prepare all of them anew.
type authorizer struct {
	call      authorizeFunc // what SQLite holds
	views     map[string]bool
	tables    map[string]bool // readable inside a view
	functions map[string]bool

	trusted bool   // our own statement is being prepared
	denied  string // why the statement being prepared was refused
	record  bool   // note the reads of the statement being prepared
	reads   []Read
}

func newAuthorizer() *authorizer {
	a := &authorizer{views: map[string]bool{}, tables: map[string]bool{}, functions: map[string]bool{}}
	for _, v := range viewNames {
		a.views[v] = true
	}
	for _, t := range viewTables {
		a.tables[t] = true
	}
	for _, f := range strings.Fields(allowedFunctions) {
		a.functions[f] = true
	}
	for _, f := range functions {
		a.functions[f.name] = true
	}
	a.functions["regexp"] = true
	return a
}

func (a *authorizer) install(r raw) error {
	a.call = func(_ *libc.TLS, _ uintptr, op int32, arg1, arg2, db, accessor uintptr) int32 {
		if a.trusted {
			return int32(sqlite.AuthResultOK)
		}
		why := a.refuse(sqlite.OpType(op), libc.GoString(arg1), libc.GoString(arg2), libc.GoString(db), libc.GoString(accessor))
		if why == "" {
			return int32(sqlite.AuthResultOK)
		}
		if a.denied == "" {
			a.denied = why
		}
		return int32(sqlite.AuthResultDeny)
	}
	return r.setAuthorizer(&a.call)
}

// refuse says why the action is forbidden, "" when it is not.
//
// A user's common table expression can carry a view's name, and SQLite then
// gives that as the accessor of what it reads. It reaches no more than
// viewTables that way, which hold nothing that the views do not show.
func (a *authorizer) refuse(op sqlite.OpType, arg1, arg2, db, accessor string) string {
	switch op {
	case sqlite.OpSelect, sqlite.OpRecursive:
		return ""
	case sqlite.OpRead:
		return a.refuseRead(strings.ToLower(arg1), strings.ToLower(arg2), db, strings.ToLower(accessor))
	case sqlite.OpFunction:
		if a.functions[strings.ToLower(arg2)] {
			return ""
		}
		return fmt.Sprintf("function %s is not allowed in a query", arg2)
	case sqlite.OpPragma:
		return "PRAGMA is not allowed in a query: `sentineld status` shows the state of the store"
	case sqlite.OpAttach, sqlite.OpDetach:
		return "ATTACH and DETACH are not allowed in a query: it reads one store, chosen with --data-dir"
	case sqlite.OpTransaction, sqlite.OpSavepoint:
		return "transactions are not allowed in a query: each statement is one"
	default:
		return "a query only reads: use SELECT, VALUES or WITH ... SELECT over " + strings.Join(viewNames[:], ", ")
	}
}

func (a *authorizer) refuseRead(table, column, db, accessor string) string {
	switch {
	case a.views[table]:
		if !a.views[accessor] {
			a.note(table, column)
		}
		return ""
	case slices.Contains(tableFunctions[:], table):
		return ""
	case strings.HasPrefix(table, "sqlite_") || strings.HasPrefix(table, "pragma_") || slices.Contains(engineTables[:], table):
		return fmt.Sprintf("%s is SQLite's own and not open to queries: the views are %s", table, strings.Join(viewNames[:], ", "))
	case column == "":
		// Asked for what no column is needed of: a table below a view, a user's
		// common table expression, or a table that is named outright, the rows
		// of which can be counted so. SQLite does not tell them apart here.
		if view, ok := mainTables[table]; ok {
			a.note(view, "")
		}
		return ""
	case a.views[accessor] && (db == "temp" || a.tables[table]):
		return ""
	}
	return fmt.Sprintf("table %s is not open to queries: use the views %s", table, strings.Join(viewNames[:], ", "))
}

// note remembers that a user's statement reads a column of a view.
func (a *authorizer) note(view, column string) {
	if r := (Read{view, column}); a.record && !slices.Contains(a.reads, r) {
		a.reads = append(a.reads, r)
	}
}
