package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"weft/data"
	"weft/train"
)

// newDataCmd returns the data command.
func newDataCmd() *cobra.Command {
	var (
		from   dataFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "data NAME",
		Short: "Get and check a data set",
		Long: `Get a data set, check its files and print what is in it. NAME is ` + strings.Join(data.Names(), ", ") + `, or a
folder of images a class: DIR/train/CLASS/* and DIR/test/CLASS/*, or DIR/CLASS/*.`,
		Example:           "  weft data fashion-mnist\n  weft data ./flowers --size 64 --json",
		Args:              takes("NAME"),
		ValidArgsFunction: cobra.FixedCompletions(data.Names(), cobra.ShellCompDirectiveDefault),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := from.load(cmd.Context(), args[0], cmd.ErrOrStderr(), 0)
			if err != nil {
				return err
			}
			return printRecord(cmd.OutOrStdout(), asJSON, describe(set))
		},
	}
	from.add(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// dataFlags are the flags of every command that reads a data set.
type dataFlags struct {
	dir  string
	size int
}

func (f *dataFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "data-dir", "", "folder that holds the set's files, or the images of a folder that moved (default: look for them, then fetch them)")
	cmd.Flags().IntVar(&f.size, "size", 0, "folders of images only: scale every image to this many pixels a side")
	must(cmd.MarkFlagDirname("data-dir"))
}

// scaleAs scales images as a run does, unless it does not say.
func (f *dataFlags) scaleAs(run train.Config) error {
	if f.size > 0 && run.Size > 0 && f.size != run.Size {
		return usagef("--size %d: the run's images are scaled to %d; leave it out", f.size, run.Size)
	}
	f.size = cmp.Or(f.size, run.Size)
	return nil
}

// load gets the named set; what it does on the way goes to log.
func (f *dataFlags) load(ctx context.Context, name string, log io.Writer, val int) (*data.Set, error) {
	if f.size < 0 {
		return nil, usagef("--size %d is negative", f.size)
	}
	return data.Load(ctx, name, data.Options{DataDir: f.dir, Size: f.size, ValImages: val, Log: newLogger(log)})
}

// newLogger returns a logger for people: no time on its lines.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// must panics on errors that only a wrong flag name in this program can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// setInfo is what the data command prints.
type setInfo struct {
	Name       string    `json:"name" col:"name"`
	Shape      [3]int    `json:"shape"` // H,W,C
	Image      string    `json:"-" col:"image"`
	Classes    int       `json:"classes" col:"classes"`
	ClassNames []string  `json:"class_names"`
	Train      int       `json:"train" col:"train"`
	Val        int       `json:"val" col:"val"`
	Test       int       `json:"test" col:"test"`
	Mean       []float32 `json:"mean" col:"mean,%.4f"`
	Std        []float32 `json:"std" col:"std,%.4f"`
	Source     string    `json:"source" col:"source"`
	Digest     string    `json:"digest" col:"digest"`
	Official   bool      `json:"official" col:"official"`
}

func describe(s *data.Set) setInfo {
	return setInfo{
		Name: s.Name, Shape: [3]int{s.H, s.W, s.C},
		Image:   fmt.Sprintf("%dx%dx%d", s.H, s.W, s.C),
		Classes: s.Classes, ClassNames: s.ClassNames,
		Train: s.Train.N(), Val: s.Val.N(), Test: s.Test.N(),
		Mean: s.Mean, Std: s.Std,
		Source: s.Source, Digest: s.Digest, Official: s.Official,
	}
}
