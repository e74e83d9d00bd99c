package main

import (
	"errors"
	"time"

	"weft/train"
	"weft/train/runs"
)

// keepRun notes in the run's folder that the training begins, or goes on, and returns what writes its metrics for
// TensorBoard, and what notes how it ended.
func keepRun(dir string, threads int) (observe func(train.Metrics) error, end func(error) error, err error) {
	b := thisBuild()
	err = runs.Begin(dir, runs.Record{Version: b.Version, Commit: b.Commit, CPU: b.CPU, Kernel: b.Kernel, Threads: threads}, time.Now())
	if err != nil {
		return nil, nil, err
	}
	events, err := runs.OpenEvents(dir)
	if err != nil {
		return nil, nil, err
	}
	return events.Write, func(failed error) error {
		return errors.Join(events.Close(), runs.End(dir, failed, time.Now()))
	}, nil
}
