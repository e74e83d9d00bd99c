package main

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// jsonFlag adds --json to a command that prints a table or a record.
func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON instead of a table")
}

// column is one column of a table: the index of a field, its title, and the verb that formats it.
type column struct {
	field       int
	title, verb string
	right       bool // numbers line up on the right
	optional    bool // left out where it is zero in every row
}

// columns reads the col tags of a struct type: `col:"title"`, `col:"title,%.1f"` or `col:"title,%.1f,optional"`. Fields
// without one are in the JSON only.
func columns(t reflect.Type) []column {
	var cols []column
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("col")
		if !ok {
			continue
		}
		title, verb, _ := strings.Cut(tag, ",")
		verb, optional := strings.CutSuffix(verb, ",optional")
		if verb == "" {
			verb = "%v"
		}
		kind := t.Field(i).Type.Kind()
		number := reflect.Int <= kind && kind <= reflect.Float64
		cols = append(cols, column{field: i, title: title, verb: verb, right: number, optional: optional})
	}
	return cols
}

// cell formats one column of a row.
func (c column) cell(row reflect.Value) string {
	return fmt.Sprintf(c.verb, row.Field(c.field).Interface())
}

// printTable writes rows of a struct type, one line each below a line of titles, or the same rows as a JSON array.
func printTable[T any](w io.Writer, asJSON bool, rows []T) error {
	if asJSON {
		if rows == nil {
			rows = []T{}
		}
		return printJSON(w, rows)
	}
	cols := slices.DeleteFunc(columns(reflect.TypeFor[T]()), func(c column) bool {
		return c.optional && !slices.ContainsFunc(rows, func(r T) bool { return !reflect.ValueOf(r).Field(c.field).IsZero() })
	})
	lines := make([][]string, 1+len(rows))
	for _, c := range cols {
		lines[0] = append(lines[0], c.title)
		for i, r := range rows {
			lines[i+1] = append(lines[i+1], c.cell(reflect.ValueOf(r)))
		}
	}
	return printLines(w, lines, func(i int) bool { return cols[i].right })
}

// printRecord writes one struct as lines of title and value, or as a JSON object.
func printRecord[T any](w io.Writer, asJSON bool, record T) error {
	if asJSON {
		return printJSON(w, record)
	}
	var lines [][]string
	for _, c := range columns(reflect.TypeFor[T]()) {
		lines = append(lines, []string{c.title, c.cell(reflect.ValueOf(record))})
	}
	return printLines(w, lines, func(int) bool { return false })
}

// printLines writes cells in columns two spaces apart.
func printLines(w io.Writer, lines [][]string, right func(col int) bool) error {
	var width []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				text.WriteString("  ")
			}
			if right(i) {
				text.WriteString(pad + cell)
			} else {
				text.WriteString(cell + pad)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
