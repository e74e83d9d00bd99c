package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"weft/atomicfile"
)

// ReadMetrics returns the lines of metrics of the run in dir; a torn last line, from a
// run that was killed, is left out.
func ReadMetrics(dir string) ([]Metrics, error) {
	path := filepath.Join(dir, metricsFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	whole := b[:bytes.LastIndexByte(b, '\n')+1]
	var lines []Metrics
	for i, text := range bytes.Split(whole, []byte{'\n'}) {
		if len(text) == 0 {
			continue
		}
		var m Metrics
		if err := json.Unmarshal(text, &m); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w; mend or remove the file", path, i+1, err)
		}
		lines = append(lines, m)
	}
	return lines, nil
}

// Log is the metrics file of a run. Lines of steps after the checkpoint that the run
// resumes from are cut off, so that no step is told twice.
type Log struct{ f *os.File }

// OpenLog opens the metrics file of a run that is about to go on from a step.
func OpenLog(dir string, step int) (*Log, error) {
	lines, err := ReadMetrics(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	path := filepath.Join(dir, metricsFile)
	err = atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		for _, m := range lines {
			if m.Step <= step {
				if err := e.Encode(m); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o644)
	return &Log{f}, err
}

// Write appends one line.
func (l *Log) Write(m Metrics) error { return json.NewEncoder(l.f).Encode(m) }

// Close closes the file.
func (l *Log) Close() error { return l.f.Close() }
