package importtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "weft"
	root   = "../.."
)

// goFile is one parsed Go file of the module.
type goFile struct {
	path    string // slash-separated, from the module's root
	dir     string // its folder; "." for the root
	test    bool
	lines   int
	syntax  *ast.File // imports and comments only
	imports []string
}

// written says that a person wrote the file.
func (f goFile) written() bool { return !ast.IsGenerated(f.syntax) }

// walk calls fn for each file of the checkout, with its slash-separated path from the root. It leaves out what is not
// source: git's own folder and whatever building and running leave behind.
func walk(t *testing.T, fn func(name string)) {
	t.Helper()
	skip := map[string]bool{".git": true, "bin": true, "runs": true, "weft-demo": true, "bench/node_modules": true}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skip[name]:
			return fs.SkipDir
		case d.Type().IsRegular():
			fn(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goFiles parses the Go files of the checkout. Other modules inside it (kernel/_gen, tools, bench) are included only
// when nested is set.
func goFiles(t *testing.T, nested bool) []goFile {
	t.Helper()
	var files []goFile
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata/") || !nested && inNested(name) {
			return
		}
		files = append(files, parse(t, name))
	})
	if len(files) == 0 {
		t.Fatal("no Go files found: is the test run from its own folder?")
	}
	return files
}

// inNested says whether name lies in a module below the root's.
func inNested(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, err := os.Stat(filepath.Join(root, dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

func parse(t *testing.T, name string) goFile {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	f := goFile{
		path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
		lines: strings.Count(string(src), "\n"), syntax: syntax,
	}
	for _, imp := range syntax.Imports {
		p, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f.imports = append(f.imports, p)
	}
	return f
}
