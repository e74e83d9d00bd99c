package report

// Claim is something that a paper states, or a goal of weft's own.
type Claim struct {
	Text      string    `json:"text"`
	Paper     string    `json:"paper"` // its figure; "": a goal of our own
	Criterion string    `json:"criterion"`
	Verdicts  []Verdict `json:"verdicts"`
}

// Verdict says whether a claim holds of a policy.
type Verdict struct {
	Policy string `json:"policy"`
	Value  string `json:"value"`
	Holds  bool   `json:"holds"`
}

// Verdicts returns claims as a table.
func Verdicts(claims []Claim) Table {
	t := Table{Title: "Claims", Words: true, Columns: []string{"claim", "paper", "verdict", "policy", "ours", "criterion"}}
	for _, c := range claims {
		paper := c.Paper
		if paper == "" {
			paper = "(a goal of weft's)"
		}
		for _, v := range c.Verdicts {
			verdict := "does not hold"
			if v.Holds {
				verdict = "holds"
			}
			t.Rows = append(t.Rows, []string{c.Text, paper, verdict, v.Policy, v.Value, c.Criterion})
		}
	}
	return t
}
