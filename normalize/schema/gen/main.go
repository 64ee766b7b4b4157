// Command gen writes schema_gen.go from tables/*.csv. Run it with `go generate` in normalize/schema.
package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const output = "schema_gen.go"

func main() {
	source, err := generate(".")
	if err == nil {
		err = os.WriteFile(output, source, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate returns the Go source for the tables of the schema package in dir.
func generate(dir string) ([]byte, error) {
	names, err := read(filepath.Join(dir, "tables", "names.csv"), "enum", "value", "name")
	if err != nil {
		return nil, err
	}
	types, err := read(filepath.Join(dir, "tables", "stable_types.csv"), "key", "type")
	if err != nil {
		return nil, err
	}
	categories, err := read(filepath.Join(dir, "tables", "categories.csv"), "by", "value", "category")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("// Code generated from tables/*.csv by gen. DO NOT EDIT.\n\npackage schema\n")
	lower := func(s string) string { return strconv.Quote(strings.ToLower(s)) }
	number := func(s string) string { return s }

	writeSwitch(&b, "recordTypeName(value int64) string", "value", pick(names, "RecordType"), number, strconv.Quote)
	writeSwitch(&b, "userTypeName(value int64) string", "value", pick(names, "UserType"), number, strconv.Quote)
	writeSwitch(&b, "logonTypeName(value int64) string", "value", pick(names, "LogonType"), number, strconv.Quote)
	writeSwitch(&b, "stableType(key []byte) Type", "string(key)", types, strconv.Quote, goType)
	writeSwitch(&b, "operationCategory(name []byte) string", "string(name)", pick(categories, "operation"), lower, strconv.Quote)
	writeSwitch(&b, "cmdletNounCategory(noun []byte) string", "string(noun)", pick(categories, "cmdlet_noun"), lower, strconv.Quote)
	writeSwitch(&b, "recordTypeCategory(value int64) string", "value", pick(categories, "record_type"), number, strconv.Quote)
	writeSwitch(&b, "workloadCategory(name []byte) string", "string(name)", pick(categories, "workload"), strconv.Quote, strconv.Quote)
	return format.Source(b.Bytes())
}

// read returns the rows of a CSV file behind its header.
func read(name string, header ...string) ([][]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(rows) == 0 || !slices.Equal(rows[0], header) {
		return nil, fmt.Errorf("%s: the first line is not %s", name, strings.Join(header, ","))
	}
	return rows[1:], nil
}

// pick returns the rows that begin with first, without that column.
func pick(rows [][]string, first string) [][]string {
	var picked [][]string
	for _, row := range rows {
		if row[0] == first {
			picked = append(picked, row[1:])
		}
	}
	return picked
}

// goType gives the constant for a type of the stable type table; an unknown one does not compile.
func goType(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// writeSwitch writes a function that maps the first column to the second, and everything else to the zero value.
func writeSwitch(b *bytes.Buffer, signature, subject string, rows [][]string, key, value func(string) string) {
	fmt.Fprintf(b, "\nfunc %s {\n\tswitch %s {\n", signature, subject)
	byValue := map[string][]string{}
	var order []string
	for _, row := range rows {
		if byValue[row[1]] == nil {
			order = append(order, row[1])
		}
		byValue[row[1]] = append(byValue[row[1]], key(row[0]))
	}
	for _, v := range order {
		fmt.Fprintf(b, "\tcase %s:\n\t\treturn %s\n", strings.Join(byValue[v], ", "), value(v))
	}
	zero := `""`
	if strings.HasSuffix(signature, " Type") {
		zero = "Any"
	}
	fmt.Fprintf(b, "\t}\n\treturn %s\n}\n", zero)
}
