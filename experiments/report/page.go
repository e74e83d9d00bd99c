package report

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"

	"weft/atomicfile"
)

// paletteSize is the number of colour classes in page.css, c0 and up.
const paletteSize = 8

var (
	//go:embed assets
	assets embed.FS

	// What every page holds: uPlot with its licence, and the page's own script and style.
	plot  = template.JS("\n/*\n" + asset("uPlot.LICENSE") + "*/\n" + asset("uPlot.iife.min.js"))
	draw  = template.JS("\n" + asset("page.js"))
	style = template.CSS("\n" + asset("uPlot.min.css") + asset("page.css"))

	page = template.Must(template.New("page.tmpl.html").Funcs(template.FuncMap{
		"percent": percent,
		"millis":  millis,
		"digits":  digits,
		"mega":    func(x float64) string { return digits(x / 1e6) },
	}).ParseFS(assets, "assets/page.tmpl.html"))
)

// view is what the template sees.
type view struct {
	Data
	Sections []section
	Colour   map[string]int // policy to colour class
	Style    template.CSS
	Plot     template.JS
	Draw     template.JS
	Security string // content security policy: nothing but the page's own style and scripts, by their digests
}

// Charts are those of all sections, for the script.
func (v view) Charts() []chart {
	all := []chart{}
	for _, s := range v.Sections {
		all = append(all, s.Charts...)
	}
	return all
}

// Render returns the report's HTML.
func Render(d Data) ([]byte, error) {
	if err := d.validate(); err != nil {
		return nil, err
	}
	v := view{Data: d, Sections: sections(d), Colour: d.colours(), Style: style, Plot: plot, Draw: draw}
	for policy, i := range v.Colour {
		v.Colour[policy] = i % paletteSize
	}
	v.Security = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s' '%s'",
		digest(string(style)), digest(string(plot)), digest(string(draw)))
	var b bytes.Buffer
	if err := page.Execute(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Write writes the report to path, whole or not at all.
func Write(path string, d Data) error {
	html, err := Render(d)
	if err == nil {
		err = atomicfile.Write(path, func(w io.Writer) error {
			_, err := w.Write(html)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// WriteJSON writes results to path as JSON that differs line by line, whole or not at all.
func WriteJSON(path string, results any) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		e.SetEscapeHTML(false)
		return e.Encode(results)
	})
}

// asset returns an embedded file.
func asset(name string) string {
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // the file is part of the binary
	}
	return string(b)
}

// digest is how a content security policy names an inline script or style.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
