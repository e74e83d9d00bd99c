package main

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// finite reports whether x is a number: there was something to take it of.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// figure prints a number with its unit.
func figure(x float64, unit string) string {
	switch {
	case !finite(x):
		return "-"
	case x == 0:
		return "0" + unit
	case math.Abs(x) < 1:
		return fmt.Sprintf("%.3f", x) + unit
	}
	return sig(x) + unit
}

func plainFigure(x float64) string { return figure(x, "") }

// percents prints a share; what is not all never reads as 100 %.
func percents(x float64) string {
	if !finite(x) {
		return "-"
	}
	if x < 1 {
		x = math.Min(x, 0.9999)
	}
	return fmt.Sprintf("%.2f %%", 100*x)
}

var eighths = []rune("▏▎▍▌▋▊▉█")

// bar draws a share of a width.
func bar(share float64, width int) string {
	n := int(math.Round(min(max(share, 0), 1) * float64(8*width)))
	text := strings.Repeat("█", n/8)
	if n%8 > 0 {
		text += string(eighths[n%8-1])
	}
	return text + strings.Repeat(" ", width-utf8.RuneCountInString(text))
}

var levels = []rune("▁▂▃▄▅▆▇█")

// curve draws values on an axis from low to high, or to the greatest value if
// high is 0. What is not known is a gap.
func curve(list []float64, low, high float64) string {
	if high == 0 {
		for _, x := range list {
			if finite(x) {
				high = max(high, x)
			}
		}
	}
	var b strings.Builder
	for _, x := range list {
		if !finite(x) {
			b.WriteByte(' ')
			continue
		}
		share := 0.
		if high > low {
			share = min(max((x-low)/(high-low), 0), 1)
		}
		b.WriteRune(levels[int(math.Round(share*float64(len(levels)-1)))])
	}
	return b.String()
}

// Styles, as the terminal calls them.
const (
	bold    = "1"
	dim     = "2"
	red     = "31"
	green   = "32"
	blue    = "34"
	magenta = "35"
)

// canvas is lines of bounded width.
type canvas struct {
	width int
	plain bool
	lines []string
	line  strings.Builder
	at    int // characters in line
}

// text adds to the line, as far as there is room.
func (c *canvas) text(style, text string) *canvas {
	if room := c.width - c.at; utf8.RuneCountInString(text) > room {
		text = string([]rune(text)[:max(room, 0)])
	}
	c.at += utf8.RuneCountInString(text)
	if style == "" || c.plain || text == "" {
		c.line.WriteString(text)
	} else {
		c.line.WriteString("\x1b[" + style + "m" + text + "\x1b[0m")
	}
	return c
}

// column goes on at a column, after at least one space.
func (c *canvas) column(at int) *canvas {
	if at == 0 && c.at == 0 {
		return c
	}
	return c.text("", strings.Repeat(" ", max(at-c.at, 1)))
}

// end ends the line.
func (c *canvas) end() *canvas {
	c.lines = append(c.lines, strings.TrimRight(c.line.String(), " "))
	c.line.Reset()
	c.at = 0
	return c
}
