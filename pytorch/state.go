package pytorch

import (
	"fmt"
	"slices"
	"strings"
)

// State is a state dict: tensors by their names, without the prefix "module." that
// DataParallel adds to all of them.
type State struct {
	Names   []string // in the order of the file
	Tensors map[string]*Tensor
	size    int // bytes of the file
}

// nested are the keys under which checkpoints keep a state dict.
var nested = []string{"state_dict", "model", "model_state_dict", "net"}

// find returns the state dict that a checkpoint's object is or has.
func find(root any) (*State, error) {
	d, ok := root.(*dict)
	if !ok {
		return nil, fmt.Errorf("the checkpoint holds a %s instead of a dictionary: save model.state_dict()", kind(root))
	}
	for _, key := range nested {
		if in, ok := d.get(key).(*dict); ok {
			if s := newState(in); s != nil {
				return s, nil
			}
		}
	}
	if s := newState(d); s != nil {
		return s, nil
	}
	var keys []string
	for _, k := range d.keys {
		keys = append(keys, show(k))
	}
	return nil, fmt.Errorf("the checkpoint has no tensors, neither at the top nor under %s; its keys are %s",
		strings.Join(nested, ", "), abridge(keys))
}

// newState returns the tensors of a dictionary, or nil if it has none.
func newState(d *dict) *State {
	s := &State{Tensors: map[string]*Tensor{}}
	for i, k := range d.keys {
		name, ok := k.(string)
		t, ok2 := d.vals[i].(*Tensor)
		if !ok || !ok2 {
			continue
		}
		if s.Tensors[name] == nil {
			s.Names = append(s.Names, name)
		}
		s.Tensors[name] = t
	}
	if len(s.Names) == 0 {
		return nil
	}
	const prefix = "module."
	if !slices.ContainsFunc(s.Names, func(n string) bool { return !strings.HasPrefix(n, prefix) }) {
		return s.renamed(func(n string) string { return n[len(prefix):] })
	}
	return s
}

// renamed returns the state dict under other names; of two that become equal the last one
// stays.
func (s *State) renamed(f func(string) string) *State {
	out := &State{Tensors: make(map[string]*Tensor, len(s.Tensors)), size: s.size}
	for _, n := range s.Names {
		to := f(n)
		if out.Tensors[to] == nil {
			out.Names = append(out.Names, to)
		}
		out.Tensors[to] = s.Tensors[n]
	}
	return out
}

// abridge joins names, the first few of many.
func abridge(names []string) string {
	const most = 6
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	shown := make([]string, len(names))
	for i, n := range names {
		shown[i] = show(n)
	}
	return strings.Join(shown, ", ") + more
}

// get returns the value of a key, the last one if there are several, or nil.
func (d *dict) get(key string) any {
	for i, k := range slices.Backward(d.keys) {
		if k == key {
			return d.vals[i]
		}
	}
	return nil
}

// dim returns a dimension of a tensor, 0 if there is none.
func (s *State) dim(name string, i int) int {
	t := s.Tensors[name]
	if t == nil || i >= len(t.Shape) {
		return 0
	}
	return t.Shape[i]
}
