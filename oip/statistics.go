package oip

import (
	"context"
	"net/http"

	pb "weft/oip/inference"
	"weft/serve"
)

// The statistics extension, as JSON has it.
type (
	statisticsAnswer struct {
		Models []modelStatistics `json:"model_stats"`
	}
	modelStatistics struct {
		Name           string                      `json:"name"`
		Version        string                      `json:"version"`
		LastInference  uint64                      `json:"last_inference"` // ms since 1970
		InferenceCount uint64                      `json:"inference_count"`
		ExecutionCount uint64                      `json:"execution_count"`
		Inference      inferenceStatistics         `json:"inference_stats"`
		Responses      map[string]map[string]total `json:"response_stats"` // of models that answer several times: none
		Batches        []batchStatistics           `json:"batch_stats"`
		Memory         []struct{}                  `json:"memory_usage"`
	}
	inferenceStatistics struct {
		Success   total `json:"success"`
		Fail      total `json:"fail"`
		Queue     total `json:"queue"`
		Input     total `json:"compute_input"`
		Infer     total `json:"compute_infer"`
		Output    total `json:"compute_output"`
		CacheHit  total `json:"cache_hit"`
		CacheMiss total `json:"cache_miss"`
	}
	batchStatistics struct {
		Size   uint64 `json:"batch_size"`
		Input  total  `json:"compute_input"`
		Infer  total  `json:"compute_infer"`
		Output total  `json:"compute_output"`
	}
	total struct {
		Count uint64 `json:"count"`
		NS    uint64 `json:"ns"`
	}
)

func totalOf(t serve.Total) total { return total{t.Count, uint64(t.Time.Nanoseconds())} }

func (e *endpoint) statistics() modelStatistics {
	s := e.Statistics()
	m := modelStatistics{
		Name: e.md.Name, Version: e.md.Versions[0],
		InferenceCount: s.Inferences, ExecutionCount: s.Executions,
		Inference: inferenceStatistics{
			Success: totalOf(s.Success), Fail: totalOf(s.Fail), Queue: totalOf(s.Queue),
			Input: totalOf(s.Input), Infer: totalOf(s.Infer), Output: totalOf(s.Output),
		},
		Responses: map[string]map[string]total{},
		Batches:   []batchStatistics{},
		Memory:    []struct{}{},
	}
	if !s.LastInference.IsZero() {
		m.LastInference = uint64(s.LastInference.UnixMilli())
	}
	for _, b := range s.Batches {
		m.Batches = append(m.Batches, batchStatistics{uint64(b.Size), totalOf(b.Input), totalOf(b.Infer), totalOf(b.Output)})
	}
	return m
}

// statistics returns those of the model of that name, or of all for "".
func (h *Handler) statistics(name, version string) (statisticsAnswer, error) {
	answer := statisticsAnswer{Models: []modelStatistics{}}
	list := []string{name}
	if name == "" {
		list = h.names()
	}
	for _, name := range list {
		e, err := h.endpoint(name, version)
		if err != nil {
			return answer, err
		}
		answer.Models = append(answer.Models, e.statistics())
	}
	return answer, nil
}

func (h *Handler) serveStatistics(w http.ResponseWriter, r *http.Request, name, version string) {
	if !allow(w, r, http.MethodGet, h) {
		return
	}
	answer, err := h.statistics(name, version)
	if err != nil {
		h.fail(w, err)
		return
	}
	h.json(w, r, http.StatusOK, answer)
}

// ModelStatistics implements the protocol's service.
func (s *grpcService) ModelStatistics(ctx context.Context, in *pb.ModelStatisticsRequest) (*pb.ModelStatisticsResponse, error) {
	if in.Name != "" {
		if err := s.may(ctx, in.Name); err != nil {
			return nil, grpcError(err)
		}
	}
	answer, err := s.h.statistics(in.Name, in.Version)
	if err != nil {
		return nil, grpcError(err)
	}
	out := &pb.ModelStatisticsResponse{}
	for i := range answer.Models {
		out.ModelStats = append(out.ModelStats, answer.Models[i].message())
	}
	return out, nil
}

func (t total) message() *pb.StatisticDuration {
	return &pb.StatisticDuration{Count: t.Count, Ns: t.NS}
}

func (m *modelStatistics) message() *pb.ModelStatistics {
	i := &m.Inference
	out := &pb.ModelStatistics{
		Name: m.Name, Version: m.Version, LastInference: m.LastInference,
		InferenceCount: m.InferenceCount, ExecutionCount: m.ExecutionCount,
		InferenceStats: &pb.InferStatistics{
			Success: i.Success.message(), Fail: i.Fail.message(), Queue: i.Queue.message(),
			ComputeInput: i.Input.message(), ComputeInfer: i.Infer.message(), ComputeOutput: i.Output.message(),
			CacheHit: i.CacheHit.message(), CacheMiss: i.CacheMiss.message(),
		},
	}
	for _, b := range m.Batches {
		out.BatchStats = append(out.BatchStats, &pb.InferBatchStatistics{
			BatchSize: b.Size, ComputeInput: b.Input.message(), ComputeInfer: b.Infer.message(), ComputeOutput: b.Output.message(),
		})
	}
	return out
}
