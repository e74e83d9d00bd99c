package oip

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"weft/guard"
	pb "weft/oip/inference"
	"weft/serve"
)

// maxRepositoryBody bounds the body of a request to the repository.
const maxRepositoryBody = 64 << 10

// indexEntry is a model in the answer to a request for the index.
type indexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

// index lists the models that the client may use, those that are ready alone if
// so wanted.
func (h *Handler) index(c *guard.Client, readyOnly bool) []indexEntry {
	list := []indexEntry{}
	for _, e := range h.server.Index() {
		list = append(list, indexEntry{e.Name, e.Version, string(e.State), e.Reason})
	}
	for name, e := range h.others {
		list = append(list, indexEntry{name, e.md.Versions[0], string(serve.StateReady), ""})
	}
	list = slices.DeleteFunc(list, func(e indexEntry) bool {
		return c.May(e.Name) != nil || readyOnly && e.State != string(serve.StateReady)
	})
	slices.SortFunc(list, func(a, b indexEntry) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// change loads or unloads a model. What was built in is always loaded.
func (h *Handler) change(ctx context.Context, verb, name string) error {
	if h.opt.FixedModels {
		return &statusError{http: http.StatusForbidden, grpc: codes.PermissionDenied, text: "this server was started without model control: its models stay as they are"}
	}
	if h.others[name] != nil {
		if verb == "load" {
			return nil
		}
		return serve.Errorf(serve.Invalid, "model %s is built in: it can not be unloaded", name)
	}
	var err error
	if verb == "load" {
		err = h.server.Load(ctx, name)
	} else {
		err = h.server.Unload(name)
	}
	h.endpoints.Delete(name) // so that nothing keeps the edition that was replaced
	if errors.Is(err, serve.ErrUnknown) {
		return unknownModel(name)
	}
	return err
}

// repository serves what is below /v2/repository/: [REPOSITORY/]index and
// models/MODEL/load or unload.
func (h *Handler) repository(w http.ResponseWriter, r *http.Request, path string) {
	parts := strings.Split(path, "/")
	name, verb := "", ""
	switch n := len(parts); {
	case n <= 2 && parts[n-1] == "index":
		verb = "index"
	case n == 3 && parts[0] == "models" && (parts[2] == "load" || parts[2] == "unload"):
		name, verb = parts[1], parts[2]
	default:
		h.notFound(w, r)
		return
	}
	need := guard.Change
	if verb == "index" {
		need = guard.Use
	}
	c, ok := h.client(w, r, need, name)
	if !ok || !allow(w, r, http.MethodPost, h) {
		return
	}
	var in struct {
		Ready      bool           `json:"ready"`
		Parameters map[string]any `json:"parameters"`
	}
	body, err := readBody(nil, r, maxRepositoryBody)
	if err == nil && len(body) > 0 {
		if bad := json.Unmarshal(body, &in); bad != nil {
			err = serve.Errorf(serve.Invalid, "the body is no JSON object of the repository: %w", bad)
		}
	}
	if err == nil && verb == "load" {
		for p := range in.Parameters {
			err = errors.Join(err, noOverride(p))
		}
	}
	if err == nil && verb == "load" { // which may have to measure the model first, and takes as long as it takes
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // not every writer has one
	}
	if err == nil && verb != "index" {
		err = h.change(r.Context(), verb, name)
	}
	switch {
	case err != nil:
		h.fail(w, err)
	case verb == "index":
		h.json(w, r, http.StatusOK, h.index(c, in.Ready))
	default:
		h.json(w, r, http.StatusOK, struct{}{})
	}
}

// noOverride refuses to load a model other than as it is in its file.
func noOverride(parameter string) error {
	return &statusError{http: http.StatusNotImplemented, grpc: codes.Unimplemented, text: "the parameter " + string(quote(parameter)) + " of load is not offered: a model is loaded as it is in its bundle"}
}

// RepositoryIndex implements the protocol's service.
func (s *grpcService) RepositoryIndex(ctx context.Context, in *pb.RepositoryIndexRequest) (*pb.RepositoryIndexResponse, error) {
	out := &pb.RepositoryIndexResponse{}
	for _, e := range s.h.index(callOf(ctx).client, in.Ready) {
		out.Models = append(out.Models, &pb.RepositoryIndexResponse_ModelIndex{Name: e.Name, Version: e.Version, State: e.State, Reason: e.Reason})
	}
	return out, nil
}

// errRepositoryName refuses to load from, or unload in, a repository by name.
var errRepositoryName = serve.Errorf(serve.Invalid, "repositories have no names here: leave repository_name out")

// RepositoryModelLoad implements the protocol's service.
func (s *grpcService) RepositoryModelLoad(ctx context.Context, in *pb.RepositoryModelLoadRequest) (*pb.RepositoryModelLoadResponse, error) {
	err := s.may(ctx, in.ModelName)
	if in.RepositoryName != "" {
		err = cmp.Or(err, error(errRepositoryName))
	}
	for p := range in.Parameters {
		err = cmp.Or(err, noOverride(p))
	}
	if err == nil {
		err = s.h.change(ctx, "load", in.ModelName)
	}
	if err != nil {
		return nil, grpcError(err)
	}
	return &pb.RepositoryModelLoadResponse{}, nil
}

// RepositoryModelUnload implements the protocol's service.
func (s *grpcService) RepositoryModelUnload(ctx context.Context, in *pb.RepositoryModelUnloadRequest) (*pb.RepositoryModelUnloadResponse, error) {
	err := s.may(ctx, in.ModelName)
	if in.RepositoryName != "" {
		err = cmp.Or(err, error(errRepositoryName))
	}
	if err == nil {
		err = s.h.change(ctx, "unload", in.ModelName)
	}
	if err != nil {
		return nil, grpcError(err)
	}
	return &pb.RepositoryModelUnloadResponse{}, nil
}
