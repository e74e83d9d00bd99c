package main

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// Keys that a terminal in raw mode sends.
const (
	ctrlC = 3
	ctrlD = 4
)

// What a terminal is told (ECMA-48, and xterm's private modes).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the alternate screen, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	beginFrame  = "\x1b[?2026h\x1b[H" // hold the picture until it is whole; to the upper left
	endFrame    = "\x1b[J\x1b[?2026l" // clear what is below
	endLine     = "\x1b[K"
)

// fullScreen is a terminal that one program draws on.
type fullScreen struct {
	keys, screen *os.File
	restore      func() // gives the terminal back as it was; may be called several times
}

// openTerminal takes the terminal over.
func openTerminal(keys, screen *os.File) (*fullScreen, error) {
	state, err := term.MakeRaw(int(keys.Fd()))
	if err != nil {
		return nil, fmt.Errorf("take the terminal over (--once prints one picture): %w", err)
	}
	t := &fullScreen{keys: keys, screen: screen}
	t.restore = sync.OnceFunc(func() {
		fmt.Fprint(screen, leaveScreen)
		//nolint:errcheck // a terminal that is gone needs no restoring
		term.Restore(int(keys.Fd()), state)
	})
	if _, err := fmt.Fprint(screen, enterScreen); err != nil {
		t.restore()
		return nil, err
	}
	return t, nil
}

// restoreOnPanic is deferred by goroutines, whose panics would leave the terminal as it is.
func (t *fullScreen) restoreOnPanic() {
	if p := recover(); p != nil {
		t.restore()
		panic(p)
	}
}

// read returns what is typed, byte by byte. Its goroutine waits in the terminal until the process ends.
func (t *fullScreen) read() <-chan byte {
	pressed := make(chan byte)
	go func() {
		defer t.restoreOnPanic()
		buf := make([]byte, 64)
		for {
			n, err := t.keys.Read(buf)
			for _, b := range buf[:n] {
				pressed <- b
			}
			if err != nil {
				return
			}
		}
	}()
	return pressed
}

// draw shows the view in the size that the terminal has now.
func (t *fullScreen) draw(v *topView) error {
	width, height, err := term.GetSize(int(t.screen.Fd()))
	if err != nil {
		return fmt.Errorf("ask for the terminal's size: %w", err)
	}
	var b strings.Builder
	b.WriteString(beginFrame)
	for i, line := range v.lines(width, height) {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + endLine)
	}
	b.WriteString(endFrame)
	_, err = t.screen.WriteString(b.String())
	return err
}
