package importtest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxLines is the length at which a file written by hand is too long to find one's way in.
const maxLines = 600

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	documented := map[string]bool{}
	name := map[string]string{}
	for _, f := range goFiles(t, true) {
		if f.test {
			continue
		}
		name[f.dir] = f.syntax.Name.Name
		if f.syntax.Doc != nil && strings.TrimSpace(f.syntax.Doc.Text()) != "" {
			documented[f.dir] = true
		}
	}
	for dir, pkg := range name {
		if !documented[dir] {
			t.Errorf("%s: package %s has no doc comment", dir, pkg)
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	for _, f := range goFiles(t, true) {
		if f.written() && f.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d: split it", f.path, f.lines, maxLines)
		}
	}
}

// The words are put together here so that this file does not contain them.
var forbidden = []struct{ word, why string }{
	{"proxy." + "golang.org", "names a module registry: leave the choice to the user's settings"},
	{"sum." + "golang.org", "names a checksum server: leave the choice to the user's settings"},
	{"registry." + "npmjs.org", "names a package registry: leave the choice to the user's settings"},
	{"deb." + "debian.org", "names a package mirror: leave the choice to the system's settings"},
	{"/wo" + "rk/", "is a path on somebody's computer"},
	{"/home" + "/", "is a path on somebody's computer"},
}

func TestTreeNamesNoPlaceOutsideItself(t *testing.T) {
	walk(t, func(name string) {
		src, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
			return
		}
		if !utf8.Valid(src) {
			return // weights, images and fuzz inputs
		}
		for _, f := range forbidden {
			if i := bytes.Index(src, []byte(f.word)); i >= 0 {
				line := 1 + bytes.Count(src[:i], []byte("\n"))
				t.Errorf("%s:%d: %q %s", name, line, f.word, f.why)
			}
		}
	})
}
