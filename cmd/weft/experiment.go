package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/experiments/report"
	"weft/experiments/superserve"
)

// newExperimentCmd returns the experiment command.
func newExperimentCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "experiment NAME",
		Short: "Reproduce a paper's tables and figures",
		Args:  takes("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			return usagef("there is no experiment %s; choose superserve, engine, deps or cluster", args[0])
		},
	}
	cmd.AddCommand(newSuperserveCmd(), newEngineCmd(), newDepsCmd(), newClusterCmd())
	return cmd
}

// superserveJob reproduces SuperServe's figures.
type superserveJob struct {
	figures, profiles []string
	out               string
	seed              uint64
	jobs              int
	quiet, asJSON     bool
}

// superserveProfiles are the tables of latencies to choose from.
var superserveProfiles = []string{"paper", "linear", "measured"}

func newSuperserveCmd() *cobra.Command {
	var job superserveJob
	cmd := &cobra.Command{
		Use:   "superserve [model.weft]",
		Short: "SuperServe's serving experiments, in virtual time",
		Long: `Reproduce Figures 8a, 9, 10, 11a, 11b, 11c and 13 of SuperServe (NSDI 2025) in virtual time, on a table of latencies:
the paper's accuracies with assumed latencies, the same with time in proportion to FLOPs, or the latencies of a
bundle on this machine (by default the one built in). Each figure gives a table, plots, and a verdict on each of the
paper's claims. What was computed is kept in --out: a run that was stopped goes on where it was.`,
		Example: "  weft experiment superserve --figure 9,11c\n  weft experiment superserve --profile paper,linear,measured --out superserve",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return job.run(cmd.Context(), strings.Join(args, ""), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&job.figures, "figure", nil, fmt.Sprintf("figures to reproduce (default: all of %s)", strings.Join(superserve.Figures(), ", ")))
	f.StringSliceVar(&job.profiles, "profile", []string{"paper"}, fmt.Sprintf("tables of latencies: %s, or that in the JSON of an earlier run", strings.Join(superserveProfiles, ", ")))
	f.StringVar(&job.out, "out", "weft-superserve", "folder to keep results, plots and report in")
	f.Uint64Var(&job.seed, "seed", 1, "seed of the traces")
	f.IntVar(&job.jobs, "jobs", runtime.NumCPU(), "loads to simulate at a time")
	f.BoolVar(&job.quiet, "quiet", false, "show no progress")
	jsonFlag(cmd, &job.asJSON)
	return cmd
}

func (j *superserveJob) validate() error {
	for _, id := range j.figures {
		if !slices.Contains(superserve.Figures(), strings.ToLower(id)) {
			return usagef("--figure %s: choose from %s", id, strings.Join(superserve.Figures(), ", "))
		}
	}
	for _, name := range j.profiles {
		if !slices.Contains(superserveProfiles, name) && !strings.HasSuffix(name, ".json") {
			return usagef("--profile %s: choose from %s, or the JSON of an earlier run", name, strings.Join(superserveProfiles, ", "))
		}
	}
	if len(j.profiles) == 0 {
		return usagef("--profile is empty: choose from %s", strings.Join(superserveProfiles, ", "))
	}
	if j.jobs < 1 {
		return usagef("--jobs %d: choose at least 1", j.jobs)
	}
	return nil
}

func (j *superserveJob) run(ctx context.Context, model string, out, errw io.Writer) error {
	if err := j.validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(j.out, 0o755); err != nil {
		return err
	}
	program, err := programDigest()
	if err != nil {
		return err
	}
	var reports []*superserve.Report
	for _, name := range j.profiles {
		p, err := j.profile(ctx, name, model, errw)
		if err != nil {
			return err
		}
		r, err := j.reproduce(ctx, p, program, errw)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	if err := superserve.Write(j.out, j.command(model), reports); err != nil {
		return err
	}
	if j.asJSON {
		return printJSON(out, reports)
	}
	for _, r := range reports {
		if err := printReport(out, r); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "Report with plots: %s\n", filepath.Join(j.out, "report.html"))
	return err
}

// profile returns the table of latencies of that name.
func (j *superserveJob) profile(ctx context.Context, name, model string, errw io.Writer) (superserve.Profile, error) {
	switch name {
	case "paper":
		return superserve.Paper(), nil
	case "linear":
		return superserve.Linear(), nil
	case "measured":
	default:
		return recorded(name)
	}
	p, err := measured(ctx, model, 1, errw, j.quiet)
	if err != nil {
		return superserve.Profile{}, err
	}
	return superserve.Measured(p), nil
}

// recorded reads the table of latencies that an earlier run used.
func recorded(path string) (superserve.Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return superserve.Profile{}, err
	}
	defer f.Close()
	p, err := superserve.Recorded(f)
	if err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// reproduce computes the figures under one profile, with progress.
func (j *superserveJob) reproduce(ctx context.Context, p superserve.Profile, program string, errw io.Writer) (*superserve.Report, error) {
	bars := newProgress(errw, j.quiet, time.Now)
	defer bars.Close()
	var bar *job
	r, err := superserve.Run(ctx, superserve.Options{
		Profile: p, Figures: j.figures, Seed: j.seed, Dir: j.out, Program: program, Jobs: j.jobs,
		Progress: func(_, total int) {
			if bar == nil {
				bar = bars.Start(p.Name, "cells", 0, int64(total))
			}
			bar.Add(1)
		},
	})
	if bar != nil {
		bar.End()
	}
	return r, err
}

// command is the command line that gives the same reports.
func (j *superserveJob) command(model string) string {
	parts := []string{"weft experiment superserve"}
	if model != "" {
		parts = append(parts, model)
	}
	if len(j.figures) > 0 {
		parts = append(parts, "--figure "+strings.Join(j.figures, ","))
	}
	parts = append(parts, "--profile "+strings.Join(j.profiles, ","))
	if j.seed != 1 {
		parts = append(parts, fmt.Sprintf("--seed %d", j.seed))
	}
	return strings.Join(append(parts, "--out "+j.out), " ")
}

// programDigest identifies the code that runs.
func programDigest() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// printReport prints the tables and verdicts of every figure.
func printReport(w io.Writer, r *superserve.Report) error {
	fmt.Fprintf(w, "Profile %s: %s\n", r.Profile, r.Note)
	for i := range r.Figures {
		f := &r.Figures[i]
		fmt.Fprintf(w, "\n%s\n%s\n", f.Title, f.Note)
		for _, t := range f.Tables() {
			if err := printReportTable(w, t); err != nil {
				return err
			}
		}
		if err := printReportTable(w, f.Verdicts()); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func printReportTable(w io.Writer, t report.Table) error {
	fmt.Fprintf(w, "\n%s\n", t.Title)
	return printLines(w, append([][]string{t.Columns}, t.Rows...), func(col int) bool { return col > 0 && !t.Words })
}
