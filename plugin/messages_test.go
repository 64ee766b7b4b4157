package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/messages.md says of every line at warn and error what it means and what to do, and of nothing else.
func TestEveryMessageIsInTheTable(t *testing.T) {
	source := newMessages(t)
	compareTable(t, "messages", source.levels, table(t, "## Messages"))
	compareTable(t, "causes", source.causes, table(t, "## Causes"))
}

func compareTable(t *testing.T, name string, source, documented map[string]string) {
	t.Helper()
	for _, head := range slices.Sorted(maps.Keys(source)) {
		if level, ok := documented[head]; !ok {
			t.Errorf("%s: %q is not in the table", name, head)
		} else if source[head] != "" && level != source[head] {
			t.Errorf("%s: %q is %s, and %s in the table", name, head, source[head], level)
		}
	}
	for _, head := range slices.Sorted(maps.Keys(documented)) {
		if _, ok := source[head]; !ok {
			t.Errorf("%s: %q is in the table, but not in the source", name, head)
		}
	}
}

// messages are what the source can log.
type messages struct {
	t         *testing.T
	constants map[string]string // string constants by name
	levels    map[string]string // by what a message begins with; a level of "" is any
	causes    map[string]string
}

func newMessages(t *testing.T) *messages {
	m := &messages{t: t, constants: map[string]string{}, causes: map[string]string{}, levels: map[string]string{
		// Those that take no logger: hostLog.flush, panicReport.
		"log lines dropped": "warn",
		"panic in":          "error",
	}}
	var files []*ast.File
	fset := token.NewFileSet()
	for _, dir := range []string{".", "collector", "config", "diagnosis", "handover", "hostfile", "ledger", "monitor", "pitfalls", "storage"} {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
	}
	for _, file := range files {
		ast.Inspect(file, m.constant)
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				m.call(fset, n)
			case *ast.CompositeLit:
				m.trouble(n)
			case *ast.ValueSpec:
				m.refusal(n)
			}
			return true
		})
	}
	return m
}

// constant takes note of string constants, the kinds of causes among them.
func (m *messages) constant(n ast.Node) bool {
	spec, ok := n.(*ast.ValueSpec)
	if !ok || len(spec.Names) != len(spec.Values) {
		return true
	}
	for i, name := range spec.Names {
		if text := m.head(spec.Values[i]); text != "" {
			m.constants[name.Name] = text
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Kind" {
				m.causes[text] = ""
			}
		}
	}
	return true
}

// call takes note of calls of a logger. What has nothing constant to begin with must come with a cause.
func (m *messages) call(fset *token.FileSet, call *ast.CallExpr) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 || method.Sel.Name != "Warn" && method.Sel.Name != "Error" {
		return
	}
	if of, ok := method.X.(*ast.Ident); ok && of.Name == "http" { // http.Error, which answers
		return
	}
	head := m.head(call.Args[0])
	switch {
	case head != "":
		m.levels[head] = strings.ToLower(method.Sel.Name)
	case !slices.ContainsFunc(call.Args[1:], func(e ast.Expr) bool { return m.head(e) == "cause" }):
		m.t.Errorf("%s: a message that begins with nothing constant, and has no cause", fset.Position(call.Pos()))
	}
}

// trouble takes note of what a trouble is about: "doing failed: why".
func (m *messages) trouble(literal *ast.CompositeLit) {
	if kind, ok := literal.Type.(*ast.Ident); !ok || kind.Name != "trouble" {
		return
	}
	for _, e := range literal.Elts {
		if field, ok := e.(*ast.KeyValueExpr); ok && field.Key.(*ast.Ident).Name == "doing" {
			m.levels[m.head(field.Value)+" failed"] = "error"
		}
	}
}

// refusal takes note of the errors that an Init ends with of its own: "cannot start: why".
func (m *messages) refusal(spec *ast.ValueSpec) {
	for i, name := range spec.Names {
		if len(spec.Values) != len(spec.Names) || name.Name != "errForked" && name.Name != "errSameThread" {
			continue
		}
		m.levels["cannot start: "+m.head(spec.Values[i].(*ast.CallExpr).Args[0])] = "error"
	}
}

// head is what an expression's text begins with, as far as it is constant and one clause.
func (m *messages) head(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			text, _, _ = strings.Cut(text, ";")
			text, _, _ = strings.Cut(text, ":")
			return strings.Trim(text, " ,")
		}
	case *ast.BinaryExpr:
		return m.head(e.X)
	case *ast.Ident:
		return m.constants[e.Name]
	}
	return ""
}

// table is the one below a headline: the second cell of each row by the first.
func table(t *testing.T, headline string) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../docs/messages.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(b), headline+"\n")
	if !found {
		t.Fatalf("no %q", headline)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(section, -1) {
		rows[row[1]] = row[2]
	}
	return rows
}
