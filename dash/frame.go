package dash

// Hello is what a viewer gets first.
type Hello struct {
	Version string  `json:"version"`
	TickMS  float64 `json:"tick_ms"` // time between two ticks
	Window  int     `json:"window"`  // ticks that the server remembers
	Missed  int     `json:"missed"`  // events that follow at once: the models and the latest ticks
}

// Model says what is served under a name.
type Model struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Policy   string   `json:"policy"`
	Input    [3]int   `json:"input"` // height, width, channels
	Classes  int      `json:"classes"`
	MaxBatch int      `json:"max_batch"`
	Subnets  []Subnet `json:"subnets"` // in rising order of accuracy
}

// Subnet is one of the models inside a model.
type Subnet struct {
	Name     string  `json:"name"`
	Accuracy float64 `json:"accuracy"` // profiled, 0..1
	// LatencyMS[b-1] is the profiled time of a batch of b images.
	LatencyMS []float64 `json:"latency_ms"`
}

// Tick is what happened since the tick before.
type Tick struct {
	AtMS     float64  `json:"at_ms"` // since the server's start
	DtMS     float64  `json:"dt_ms"` // since the tick before
	Ready    bool     `json:"ready"`
	Draining bool     `json:"draining"`
	Workers  []Worker `json:"workers"`
	Models   []Load   `json:"models"` // sorted by name
	Burst    *Burst   `json:"burst,omitempty"`
}

// Worker is what one worker did.
type Worker struct {
	Index   int     `json:"index"`
	Name    string  `json:"name"`
	Up      bool    `json:"up"`   // it takes batches
	Busy    float64 `json:"busy"` // share of the tick, 0..1
	Batches int     `json:"batches"`
	// Model and Subnet are those of its latest batch; Subnet is an index into Model.Subnets, -1: none yet.
	Model  string `json:"model"`
	Subnet int    `json:"subnet"`
}

// Load is what became of one model's requests. All but the state of the queue
// counts what happened during the tick.
type Load struct {
	Name    string `json:"name"`
	Ready   bool   `json:"ready"`
	Arrived int    `json:"arrived"` // requests
	// Met, Late, Refused, Failed and Withdrawn are the requests that ended: answered
	// in time, answered after their deadline, refused as too late or as too many,
	// failed by the model, and withdrawn by their client.
	Met       int `json:"met"`
	Late      int `json:"late"`
	Refused   int `json:"refused"`
	Full      int `json:"full"` // of the refused: the queue was full
	Failed    int `json:"failed"`
	Withdrawn int `json:"withdrawn"`
	// Accuracy is the mean profiled accuracy of the subnets that answered, by request (0: none).
	Accuracy float64 `json:"accuracy"`
	Subnets  []int   `json:"subnets"` // images computed, by subnet
	Batches  []int   `json:"batches"` // batches computed; Batches[b-1] had b images
	// SlackMS are quantiles of the time that dispatched requests had left until their deadline.
	SlackMS Quantiles `json:"slack_ms"`
	// LatencyMS are quantiles of the time from the start of answered requests to their answer.
	LatencyMS Quantiles `json:"latency_ms"`

	Waiting       int     `json:"waiting"` // requests in the queue now
	WaitingImages int     `json:"waiting_images"`
	BacklogMS     float64 `json:"backlog_ms"` // how long the workers need for these at least
	Pace          float64 `json:"pace"`       // how long batches take of late over their profile
	Requests      []Point `json:"requests"`   // some of those that ended, all misses first
}

// Quantiles of a distribution. All are 0 when nothing was counted.
type Quantiles struct {
	P1  float64 `json:"p1"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Point is one request in short.
type Point struct {
	ID        string  `json:"id"`    // for GET /dash/request
	AtMS      float64 `json:"at_ms"` // when it ended, since the server's start
	LatencyMS float64 `json:"latency_ms"`
	Outcome   string  `json:"outcome"` // see serve.Record.Outcome
	Subnet    int     `json:"subnet"`  // -1: it was in no batch
}
