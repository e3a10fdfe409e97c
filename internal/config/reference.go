package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference describes every option as a Markdown table, from the declarations
// and the defaults themselves.
func Reference() string {
	c := Default()
	c.DataDir = "" // it depends on who asks
	var b strings.Builder
	b.WriteString("| option | default | meaning |\n|---|---|---|\n")
	describe(&b, reflect.ValueOf(c), "")
	return b.String()
}

func describe(b *strings.Builder, v reflect.Value, prefix string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		path := prefix + f.Tag.Get("yaml")
		if v.Field(i).Kind() == reflect.Struct {
			describe(b, v.Field(i), path+".")
			continue
		}
		value := fmt.Sprint(v.Field(i).Interface())
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", path, value, f.Tag.Get("help"))
	}
}
