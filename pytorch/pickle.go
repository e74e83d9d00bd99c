package pytorch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
)

// Limits of a pickle. An operation makes at most a small object, so both together bound the
// memory that a file can ask for; a state dict takes about 60 operations a tensor.
const (
	maxPickle = 64 << 20 // bytes
	maxOps    = 2 << 20
)

// Versions of the pickle format; those before have other operations.
const (
	minProtocol = 2
	maxProtocol = 5
)

// Python values are nil, bool, int64, *big.Int (beyond int64), float64, string, []byte,
// tuple, *list, *dict, global, and what the allowed globals make: *storage and *Tensor.
type (
	tuple []any
	list  struct{ items []any }
	// dict keeps the order of insertion and every key, repeated ones too.
	dict   struct{ keys, vals []any }
	global struct{ module, name string }
)

func (g global) String() string { return g.module + "." + g.name }

// opaque stands for a value of an allowed class whose content is not needed.
type opaque struct{ class global }

// unpickler is a stack machine for the operations that torch.save writes (Python's
// pickletools documents all of them). It makes values and runs nothing: the two operations
// by which a pickle calls code go through call and load.
type unpickler struct {
	in    []byte
	pos   int
	stack []any
	marks []int
	memo  map[uint32]any
	left  int                                     // operations; calls use up one more for each item that they copy
	call  func(g global, args tuple) (any, error) // an allow-list
	load  func(id tuple) (any, error)             // of persistent ids: storages
}

var errShort = errors.New("the pickle is truncated")

// width is the number of bytes of the little-endian number that follows an operation.
var width = map[byte]int{
	'q': 1, 'h': 1, 'r': 4, 'j': 4, // memo
	'U': 1, 'C': 1, 0x8c: 1, 'T': 4, 'B': 4, 'X': 4, 0x8d: 8, 0x8e: 8, 0x8a: 1, // length
	'K': 1, 'M': 2, 'J': 4, // value
}

// run executes one pickle and returns its value; pos is then behind it.
func (u *unpickler) run() (any, error) {
	u.stack, u.marks, u.memo = nil, nil, map[uint32]any{}
	for u.left = maxOps; u.left > 0 && u.pos <= maxPickle; u.left-- {
		op, err := u.u8()
		if err != nil {
			return nil, err
		}
		if op == '.' {
			return u.pop()
		}
		if err := u.step(op); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the pickle has more than %d operations or %d bytes: save the state_dict alone", maxOps, maxPickle)
}

func (u *unpickler) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		return u.proto()
	case 0x95: // FRAME: a hint for readers of streams
		_, err := u.take(8)
		return err
	case '(': // MARK
		u.marks = append(u.marks, len(u.stack))
		return nil
	case '0': // POP
		_, err := u.pop()
		return err
	case '1': // POP_MARK
		_, err := u.popMark()
		return err
	case '2': // DUP
		return u.push(u.top())
	case 'q', 'r', 0x94, 'h', 'j':
		return u.memoise(op)
	case ')', 't', 0x85, 0x86, 0x87, ']', '}', 'a', 'e', 's', 'u':
		return u.container(op)
	case 'c', 0x93, 'R', 0x81, 'b', 'Q':
		return u.object(op)
	case 'U', 'T', 'X', 0x8c, 0x8d, 'B', 'C', 0x8e:
		return u.text(op)
	default:
		return u.scalar(op)
	}
}

func (u *unpickler) proto() error {
	v, err := u.u8()
	if err == nil && (v < minProtocol || v > maxProtocol) {
		return fmt.Errorf("pickle protocol %d: must be %d to %d", v, minProtocol, maxProtocol)
	}
	return err
}

// memoise handles BINPUT, LONG_BINPUT, MEMOIZE, BINGET and LONG_BINGET.
func (u *unpickler) memoise(op byte) error {
	n, err := u.uint(width[op])
	if err != nil {
		return err
	}
	id := uint32(n)
	if op == 'h' || op == 'j' {
		v, ok := u.memo[id]
		if !ok {
			return fmt.Errorf("the pickle reads memo %d before writing it", id)
		}
		return u.push(v, nil)
	}
	if op == 0x94 {
		id = uint32(len(u.memo))
	}
	v, err := u.top()
	u.memo[id] = v
	return err
}

// container handles tuples, lists and dictionaries.
func (u *unpickler) container(op byte) error {
	switch op {
	case ')':
		return u.push(tuple{}, nil)
	case ']':
		return u.push(&list{}, nil)
	case '}':
		return u.push(&dict{}, nil)
	case 0x85, 0x86, 0x87: // TUPLE1 to TUPLE3
		v, err := u.popN(int(op) - 0x84)
		return u.push(tuple(v), err)
	case 't': // TUPLE
		v, err := u.popMark()
		return u.push(tuple(v), err)
	}
	return u.extend(op)
}

// extend handles APPEND, APPENDS, SETITEM and SETITEMS.
func (u *unpickler) extend(op byte) error {
	var items []any
	var err error
	switch op {
	case 'a':
		items, err = u.popN(1)
	case 's':
		items, err = u.popN(2)
	default:
		items, err = u.popMark()
	}
	if err != nil {
		return err
	}
	to, err := u.top()
	if err != nil {
		return err
	}
	if l, ok := to.(*list); ok && (op == 'a' || op == 'e') {
		l.items = append(l.items, items...)
		return nil
	}
	d, ok := to.(*dict)
	if !ok || op == 'a' || op == 'e' || len(items)%2 != 0 {
		return fmt.Errorf("the pickle adds %d items to a %s", len(items), kind(to))
	}
	for i := 0; i < len(items); i += 2 {
		d.set(items[i], items[i+1])
	}
	return nil
}

func (d *dict) set(k, v any) { d.keys, d.vals = append(d.keys, k), append(d.vals, v) }

// object handles GLOBAL, STACK_GLOBAL, REDUCE, NEWOBJ, BUILD and BINPERSID.
func (u *unpickler) object(op byte) error {
	if op == 'c' {
		module, err := u.line()
		if err != nil {
			return err
		}
		name, err := u.line()
		return u.push(global{module, name}, err)
	}
	if op == 'Q' {
		id, err := u.pop()
		if err != nil {
			return err
		}
		t, ok := id.(tuple)
		if !ok {
			return fmt.Errorf("the pickle names a storage by a %s", kind(id))
		}
		return u.push(u.load(t))
	}
	v, err := u.popN(2)
	if err != nil {
		return err
	}
	switch op {
	case 0x93: // STACK_GLOBAL
		module, ok := v[0].(string)
		name, ok2 := v[1].(string)
		if !ok || !ok2 {
			return errors.New("the pickle names a global by something else than strings")
		}
		return u.push(global{module, name}, nil)
	case 'b': // BUILD sets attributes; those of what is allowed here don't matter
		switch v[0].(type) {
		case *dict, *Tensor, opaque:
			return u.push(v[0], nil)
		}
		return fmt.Errorf("the pickle sets attributes of a %s", kind(v[0]))
	}
	g, ok := v[0].(global)
	args, ok2 := v[1].(tuple)
	if !ok || !ok2 {
		return fmt.Errorf("the pickle calls a %s with a %s", kind(v[0]), kind(v[1]))
	}
	for _, a := range args {
		if l, ok := a.(*list); ok {
			u.left -= len(l.items)
		}
	}
	return u.push(u.call(g, args))
}

// text handles strings and bytes.
func (u *unpickler) text(op byte) error {
	n, err := u.uint(width[op])
	if err != nil {
		return err
	}
	b, err := u.take(n)
	if err != nil {
		return err
	}
	if op == 'B' || op == 'C' || op == 0x8e {
		return u.push(b, nil)
	}
	return u.push(string(b), nil)
}

// scalar handles None, booleans and numbers.
func (u *unpickler) scalar(op byte) error {
	switch op {
	case 'N':
		return u.push(nil, nil)
	case 0x88, 0x89:
		return u.push(op == 0x88, nil)
	case 'K', 'M':
		n, err := u.uint(width[op])
		return u.push(int64(n), err)
	case 'J':
		n, err := u.uint(width[op])
		return u.push(int64(int32(n)), err)
	case 'G':
		b, err := u.take(8)
		if err != nil {
			return err
		}
		return u.push(math.Float64frombits(binary.BigEndian.Uint64(b)), nil)
	case 0x8a: // LONG1: little-endian two's complement
		n, err := u.uint(width[op])
		if err != nil {
			return err
		}
		b, err := u.take(n)
		return u.push(long(b), err)
	}
	return fmt.Errorf("the pickle has operation 0x%02x at byte %d, which torch.save does not write", op, u.pos-1)
}

func long(b []byte) any {
	be := make([]byte, len(b))
	for i, v := range b {
		be[len(b)-1-i] = v
	}
	n := new(big.Int).SetBytes(be)
	if len(b) > 0 && be[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func (u *unpickler) take(n uint64) ([]byte, error) {
	if n > uint64(len(u.in)-u.pos) {
		return nil, errShort
	}
	b := u.in[u.pos:][:n:n]
	u.pos += int(n)
	return b, nil
}

// uint reads a little-endian number of so many bytes.
func (u *unpickler) uint(width int) (uint64, error) {
	b, err := u.take(uint64(width))
	var n uint64
	for i, v := range b {
		n |= uint64(v) << (8 * i)
	}
	return n, err
}

func (u *unpickler) u8() (byte, error) {
	n, err := u.uint(1)
	return byte(n), err
}

func (u *unpickler) line() (string, error) {
	n := bytes.IndexByte(u.in[u.pos:], '\n')
	if n < 0 {
		return "", errShort
	}
	s := string(u.in[u.pos:][:n])
	u.pos += n + 1
	return strings.TrimSuffix(s, "\r"), nil
}

// push takes what a function returned.
func (u *unpickler) push(v any, err error) error {
	if err != nil {
		return err
	}
	u.stack = append(u.stack, v)
	return nil
}

// floor is where the innermost mark stands.
func (u *unpickler) floor() int {
	if len(u.marks) == 0 {
		return 0
	}
	return u.marks[len(u.marks)-1]
}

var errStack = errors.New("the pickle takes more from its stack than is there")

func (u *unpickler) popN(n int) ([]any, error) {
	lo := len(u.stack) - n
	if lo < u.floor() {
		return nil, errStack
	}
	v := append([]any(nil), u.stack[lo:]...)
	u.stack = u.stack[:lo]
	return v, nil
}

func (u *unpickler) pop() (any, error) {
	v, err := u.popN(1)
	if err != nil {
		return nil, err
	}
	return v[0], nil
}

// popMark takes what lies above the innermost mark, and the mark.
func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, errStack
	}
	v, err := u.popN(len(u.stack) - u.floor())
	u.marks = u.marks[:len(u.marks)-1]
	return v, err
}

func (u *unpickler) top() (any, error) {
	if len(u.stack) <= u.floor() {
		return nil, errStack
	}
	return u.stack[len(u.stack)-1], nil
}
