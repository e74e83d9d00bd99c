package superserve

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"weft/atomicfile"
	"weft/experiments/report"
)

// Write writes the reports into dir: report.html with all of them, superserve.md with its
// pictures, one for each figure and profile, and the results of each profile as JSON.
func Write(dir, command string, reports []*Report) error {
	for _, r := range reports {
		for i := range r.Figures {
			f := &r.Figures[i]
			if err := report.WriteSVG(filepath.Join(dir, r.picture(f)), f.Plots, f.Columns); err != nil {
				return err
			}
		}
		if err := report.WriteJSON(filepath.Join(dir, r.Profile+".json"), r); err != nil {
			return err
		}
	}
	err := atomicfile.Write(filepath.Join(dir, "superserve.md"), func(w io.Writer) error {
		_, err := io.WriteString(w, markdown(command, reports))
		return err
	})
	if err != nil {
		return err
	}
	return report.Write(filepath.Join(dir, "report.html"), page(command, reports))
}

func (r *Report) picture(f *Figure) string { return fmt.Sprintf("%s-%s.svg", r.Profile, f.ID) }

// page is the reports as one page.
func page(command string, reports []*Report) report.Data {
	d := report.Data{
		Title:    "SuperServe's serving experiments in virtual time",
		Summary:  summary(reports),
		Commands: []string{command},
	}
	for _, r := range reports {
		d.Sections = append(d.Sections, report.Section{Title: "Profile " + r.Profile, Tables: []report.Table{r.profileTable()}})
		for i := range r.Figures {
			f := &r.Figures[i]
			d.Sections = append(d.Sections, report.Section{
				Title: f.Title + " (profile " + r.Profile + ")", Note: f.Note,
				Tables: append(f.Tables(), f.Verdicts()), Plots: f.Plots,
			})
		}
	}
	return d
}

// summary counts the claims that hold of the default policy, or of the one they are about.
func summary(reports []*Report) string {
	var parts []string
	for _, r := range reports {
		holds, claims, met, goals := 0, 0, 0, 0
		for _, f := range r.Figures {
			for _, c := range f.Claims {
				n := 0
				if c.Verdicts[0].Holds {
					n = 1
				}
				if c.Paper == "" {
					goals++
					met += n
				} else {
					claims++
					holds += n
				}
			}
		}
		parts = append(parts, fmt.Sprintf("profile %s: %d of the paper's %d claims hold of %s, and %d of %d goals of weft's own",
			r.Profile, holds, claims, ours[0], met, goals))
	}
	return strings.ToUpper(parts[0][:1]) + strings.Join(parts, "; ")[1:] + "."
}

// markdown is the reports as a document, beside its pictures.
func markdown(command string, reports []*Report) string {
	var b strings.Builder
	b.WriteString("# SuperServe's serving experiments, in virtual time\n\nWritten by\n\n")
	fmt.Fprintf(&b, "    %s\n\n%s\n\n%s", command, summary(reports), preamble)
	for _, r := range reports {
		fmt.Fprintf(&b, "\n## Profile `%s`\n\n", r.Profile)
		b.WriteString(r.profileTable().Markdown())
		for i := range r.Figures {
			f := &r.Figures[i]
			fmt.Fprintf(&b, "\n### %s (profile `%s`)\n\n%s\n\n", f.Title, r.Profile, f.Note)
			b.WriteString(f.Verdicts().Markdown())
			fmt.Fprintf(&b, "\n![%s](%s)\n\n", f.Title, r.picture(f))
			for _, t := range f.Tables() {
				b.WriteString(t.Markdown())
				b.WriteString("\n")
			}
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

const preamble = "The schedulers are those that `weft serve` uses; a batch takes as long as the profile says and nothing else takes time.\n" +
	"Every policy meets the same requests, each of which is dropped when it can no longer be in time. `clipper+ X` is the subnet X\n" +
	"alone with the batch fitted to the deadline (and, as `no drop`, with nothing dropped, as in the paper); `bound` is what no schedule can exceed, even one that knows the future\n" +
	"(package `optimum`), for attainment and for the sum of accuracies each. Effective accuracy counts 0 for a request that was not in time.\n" +
	"A verdict on `weft`, the default policy, stands before that on `slackfit`.\n"
