package report

import "slices"

// Claim is something that a paper states, or a goal of weft's own.
type Claim struct {
	Text      string    `json:"text"`
	Paper     string    `json:"paper"` // its figure; "": a goal of our own
	Criterion string    `json:"criterion"`
	Verdicts  []Verdict `json:"verdicts"`
}

// Verdict says whether a claim holds, of a policy where it is about one.
type Verdict struct {
	Policy string `json:"policy,omitempty"`
	Value  string `json:"value"`
	Holds  bool   `json:"holds"`
	Close  bool   `json:"close,omitempty"` // nearer to the criterion than the noise: which side it is on tells nothing
}

// Verdicts returns claims as a table, with the policies if there are any.
func Verdicts(claims []Claim) Table {
	t := Table{Title: "Claims", Words: true, Columns: []string{"claim", "paper", "verdict", "policy", "ours", "criterion"}}
	policies := false
	for _, c := range claims {
		paper := c.Paper
		if paper == "" {
			paper = "(a goal of weft's)"
		}
		for _, v := range c.Verdicts {
			verdict := "does not hold"
			switch {
			case v.Close:
				verdict = "too close to tell"
			case v.Holds:
				verdict = "holds"
			}
			policies = policies || v.Policy != ""
			t.Rows = append(t.Rows, []string{c.Text, paper, verdict, v.Policy, v.Value, c.Criterion})
		}
	}
	if !policies {
		at := slices.Index(t.Columns, "policy")
		t.Columns = slices.Delete(t.Columns, at, at+1)
		for i := range t.Rows {
			t.Rows[i] = slices.Delete(t.Rows[i], at, at+1)
		}
	}
	return t
}
