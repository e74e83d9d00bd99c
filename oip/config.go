package oip

import (
	"context"
	"net/http"

	pb "weft/oip/inference"
)

// modelConfig is the model configuration extension, as JSON has it.
type modelConfig struct {
	Name          string           `json:"name"`
	Platform      string           `json:"platform"`
	Backend       string           `json:"backend"`
	VersionPolicy map[string]any   `json:"version_policy"`
	MaxBatchSize  int              `json:"max_batch_size"`
	Input         []configTensor   `json:"input"`
	Output        []configTensor   `json:"output"`
	InstanceGroup []configInstance `json:"instance_group"`
	// DynamicBatching is there if requests are batched; the subnet and size of a
	// batch are the policy's choice.
	DynamicBatching *struct{}              `json:"dynamic_batching,omitempty"`
	Parameters      map[string]configValue `json:"parameters"`
}

type configTensor struct {
	Name string  `json:"name"`
	Type string  `json:"data_type"`
	Dims []int64 `json:"dims"` // without the batch
}

type configInstance struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Count int    `json:"count"`
}

type configValue struct {
	Text string `json:"string_value"`
}

// configType returns the name of a datatype in a configuration.
func (d Datatype) configType() string {
	if d == Bytes {
		return "TYPE_STRING"
	}
	return "TYPE_" + d.String()
}

func (e *endpoint) config() modelConfig {
	md := e.md
	tensors := func(list []TensorMetadata) (out []configTensor) {
		for _, t := range list {
			dims := t.Shape
			if md.MaxBatch > 0 {
				dims = dims[1:]
			}
			if len(dims) == 0 {
				dims = []int64{1} // as Triton has it, which knows no tensor of batch alone
			}
			out = append(out, configTensor{t.Name, t.Datatype.configType(), dims})
		}
		return out
	}
	c := modelConfig{
		Name: md.Name, Platform: md.Platform, Backend: serverName,
		VersionPolicy: map[string]any{"latest": map[string]int{"num_versions": 1}},
		MaxBatchSize:  md.MaxBatch, Input: tensors(md.Inputs), Output: tensors(md.Outputs),
		InstanceGroup: []configInstance{{Name: md.Name, Kind: "KIND_CPU", Count: 1}},
		Parameters:    map[string]configValue{},
	}
	for name, v := range md.Properties {
		c.Parameters[name] = configValue{v}
	}
	if e.router != nil {
		c.InstanceGroup[0].Count = len(e.router.Model().Executors)
		c.DynamicBatching = &struct{}{}
	}
	return c
}

func (e *endpoint) serveConfig() (int, any) { return http.StatusOK, e.config() }

// ModelConfig implements the protocol's service.
func (s *grpcService) ModelConfig(ctx context.Context, in *pb.ModelConfigRequest) (*pb.ModelConfigResponse, error) {
	e, err := s.model(ctx, in.Name, in.Version)
	if err != nil {
		return nil, grpcError(err)
	}
	c := e.config()
	out := &pb.ModelConfig{
		Name: c.Name, Platform: c.Platform, Backend: c.Backend, MaxBatchSize: int32(c.MaxBatchSize),
		VersionPolicy: &pb.ModelVersionPolicy{PolicyChoice: &pb.ModelVersionPolicy_Latest_{Latest: &pb.ModelVersionPolicy_Latest{NumVersions: 1}}},
		InstanceGroup: []*pb.ModelInstanceGroup{{Name: c.Name, Kind: pb.ModelInstanceGroup_KIND_CPU, Count: int32(c.InstanceGroup[0].Count)}},
		Parameters:    map[string]*pb.ModelParameter{},
	}
	for _, t := range c.Input {
		out.Input = append(out.Input, &pb.ModelInput{Name: t.Name, DataType: pb.DataType(pb.DataType_value[t.Type]), Dims: t.Dims})
	}
	for _, t := range c.Output {
		out.Output = append(out.Output, &pb.ModelOutput{Name: t.Name, DataType: pb.DataType(pb.DataType_value[t.Type]), Dims: t.Dims})
	}
	for name, v := range c.Parameters {
		out.Parameters[name] = &pb.ModelParameter{StringValue: v.Text}
	}
	if c.DynamicBatching != nil {
		out.SchedulingChoice = &pb.ModelConfig_DynamicBatching{DynamicBatching: &pb.ModelDynamicBatching{}}
	}
	return &pb.ModelConfigResponse{Config: out}, nil
}
