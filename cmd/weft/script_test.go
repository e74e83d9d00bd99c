package main

import (
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptCmds are the commands that the scripts have beside testscript's own.
var scriptCmds = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"squares": scriptSquares,
	"await":   scriptAwait,
	"listen":  scriptListen,
}

// scriptSquares: "squares DIR" draws a data set (see drawSquares).
func scriptSquares(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(drawSquares(ts.MkAbs(args[0])))
}

// scriptAwait: "await FILE REGEXP VAR" waits until the file has a match and sets the
// variable to its first group.
func scriptAwait(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile(args[1])
	var text []byte
	for range 3000 {
		text, _ = os.ReadFile(ts.MkAbs(args[0]))
		if m := re.FindSubmatch(text); m != nil {
			ts.Setenv(args[2], string(m[1]))
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s has no match of %s: %s", args[0], args[1], text)
}

// scriptListen: "listen VAR" occupies a port until the script ends and sets the variable
// to its address.
func scriptListen(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	ts.Setenv(args[0], ln.Addr().String())
}

// drawSquares fills dir with grey pictures of 28x28 pixels: a bright square on the left
// or on the right of darkness, 60 of each to learn from and 10 to test with.
func drawSquares(dir string) error {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, split := range []struct {
		name string
		n    int
	}{{"train", 60}, {"test", 10}} {
		for class, name := range []string{"left", "right"} {
			folder := filepath.Join(dir, split.name, name)
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
			for i := range split.n {
				if err := drawSquare(filepath.Join(folder, fmt.Sprintf("%03d.png", i)), class, rng); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func drawSquare(path string, class int, rng *rand.Rand) error {
	img := image.NewGray(image.Rect(0, 0, 28, 28))
	for i := range img.Pix {
		img.Pix[i] = uint8(rng.IntN(30))
	}
	y0, x0 := rng.IntN(20), rng.IntN(6)+14*class
	for y := y0; y < y0+8; y++ {
		for x := x0; x < x0+8; x++ {
			img.Pix[28*y+x] = uint8(150 + rng.IntN(100))
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := png.Encode(f, img); err != nil {
		return err
	}
	return f.Close()
}
