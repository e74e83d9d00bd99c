package oip

import (
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"weft/serve"
)

// maxDepth is how deep JSON may nest.
const maxDepth = 100

// scanner reads JSON strictly (RFC 8259) from front to back. The first error
// sticks, and every method then returns a zero value:
//
//	for s.open('{'); s.more('}'); {
//		switch string(s.key()) {
//
// encoding/json would accept a key that is there twice and would allocate for
// each value.
type scanner struct {
	buf   []byte
	pos   int
	depth int
	first bool // the container just opened has no element yet
	err   error
}

// failf sets the error unless there is one.
func (s *scanner) failf(format string, args ...any) {
	if s.err == nil {
		s.err = serve.Errorf(serve.Invalid, format, args...)
	}
}

// fail sets the error unless there is one, or err is nil.
func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// unexpected fails with what was expected at the position.
func (s *scanner) unexpected(want string) {
	switch rest := s.buf[min(s.pos, len(s.buf)):]; {
	case len(rest) == 0:
		s.failf("the JSON ends early, at byte %d: %s is missing", s.pos, want)
	case rest[0] == 'N', rest[0] == 'I', len(rest) > 1 && rest[0] == '-' && rest[1] == 'I':
		s.failf("the JSON has NaN or Infinity at byte %d: send a finite number", s.pos)
	default:
		s.failf("the JSON has %q at byte %d: %s is expected there", rest[0], s.pos, want)
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.buf) {
		switch c := s.buf[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// open enters an object '{' or array '['.
func (s *scanner) open(c byte) {
	if s.peek() != c {
		s.unexpected(map[byte]string{'{': "an object", '[': "an array"}[c])
		return
	}
	s.pos++
	s.depth++
	s.first = true
	if s.depth > maxDepth {
		s.failf("the JSON nests deeper than %d: flatten it", maxDepth)
	}
}

// more reports whether an element follows in the container that ends with c,
// and leaves the container when none does.
func (s *scanner) more(c byte) bool {
	if s.err != nil {
		return false
	}
	next := s.peek()
	first := s.first
	s.first = false
	switch {
	case next == c:
		s.pos++
		s.depth--
		return false
	case first:
		return true
	case next == ',':
		s.pos++
		return true
	}
	s.unexpected("a comma or " + strconv.QuoteRune(rune(c)))
	return false
}

// end fails unless nothing follows.
func (s *scanner) end() {
	if s.peek(); s.pos < len(s.buf) {
		s.unexpected("the end")
	}
}

// key reads the name of an object's member and its colon.
func (s *scanner) key() []byte {
	k := s.str()
	if s.err != nil {
		return nil
	}
	if s.peek() != ':' {
		s.unexpected("a colon")
		return nil
	}
	s.pos++
	return k
}

// str reads a string. The result may be part of the input.
func (s *scanner) str() []byte {
	if s.err != nil {
		return nil
	}
	if s.peek() != '"' {
		s.unexpected("a string")
		return nil
	}
	start, escaped, ascii := s.pos, false, true
	for s.pos++; s.pos < len(s.buf); s.pos++ {
		switch c := s.buf[s.pos]; {
		case c == '"':
			s.pos++
			return s.unquote(s.buf[start:s.pos], escaped, ascii)
		case c == '\\':
			escaped = true
			s.pos++
		case c < ' ':
			s.unexpected("a string without control characters")
			return nil
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	s.unexpected("a quotation mark")
	return nil
}

func (s *scanner) unquote(token []byte, escaped, ascii bool) []byte {
	if !ascii && !utf8.Valid(token) {
		s.failf("the JSON has a string that is not UTF-8 before byte %d: encode it as UTF-8", s.pos)
		return nil
	}
	if !escaped {
		return token[1 : len(token)-1]
	}
	var text string
	if err := json.Unmarshal(token, &text); err != nil {
		s.failf("the JSON has a wrong escape before byte %d: %w", s.pos, err)
	}
	return []byte(text)
}

// null skips a null and reports whether there was one.
func (s *scanner) null() bool { return s.peek() == 'n' && s.literal("null") }

// boolean reads true or false.
func (s *scanner) boolean() bool {
	switch s.peek() {
	case 't':
		return s.literal("true")
	case 'f':
		s.literal("false")
	default:
		s.unexpected("true or false")
	}
	return false
}

func (s *scanner) literal(word string) bool {
	if s.err != nil {
		return false
	}
	if end := s.pos + len(word); end > len(s.buf) || string(s.buf[s.pos:end]) != word {
		s.unexpected(word)
		return false
	}
	s.pos += len(word)
	return true
}

// integer reads a number without fraction or exponent. what names it in errors.
func (s *scanner) integer(what string) int64 {
	token, whole := s.number()
	if s.err != nil {
		return 0
	}
	v, err := strconv.ParseInt(string(token), 10, 64)
	if !whole || err != nil {
		s.failf("%s is %.40s: send an integer", what, token)
	}
	return v
}

// float64 reads a number.
func (s *scanner) float64() float64 {
	token, _ := s.number()
	if s.err != nil {
		return 0
	}
	v, err := strconv.ParseFloat(string(token), 64)
	if err != nil {
		s.failf("the JSON has the number %.40s before byte %d: it is too large", token, s.pos)
	}
	return v
}

// number reads a number's text and reports whether it is written as an integer.
func (s *scanner) number() (token []byte, whole bool) {
	if s.err != nil {
		return nil, false
	}
	s.peek()
	start := s.pos
	if s.pos < len(s.buf) && s.buf[s.pos] == '-' {
		s.pos++
	}
	zero := s.pos < len(s.buf) && s.buf[s.pos] == '0'
	if n := s.digits(); n == 0 || zero && n > 1 {
		s.pos = start
		s.unexpected("a number")
		return nil, false
	}
	whole = true
	if s.pos < len(s.buf) && s.buf[s.pos] == '.' {
		whole = false
		s.pos++
		if s.digits() == 0 {
			s.unexpected("a digit")
		}
	}
	if s.pos < len(s.buf) && s.buf[s.pos]|0x20 == 'e' {
		whole = false
		s.pos++
		if s.pos < len(s.buf) && (s.buf[s.pos] == '+' || s.buf[s.pos] == '-') {
			s.pos++
		}
		if s.digits() == 0 {
			s.unexpected("a digit")
		}
	}
	return s.buf[start:s.pos], whole
}

func (s *scanner) digits() (n int) {
	for s.pos < len(s.buf) && s.buf[s.pos]-'0' <= 9 {
		s.pos++
		n++
	}
	return n
}

var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19}

// float32 reads a number as FP32. Numbers of up to 19 digits without exponent,
// the usual ones, take a fast path whose result is at most one unit in the last
// place off the nearest value.
func (s *scanner) float32() float32 {
	if s.err != nil {
		return 0
	}
	s.peek()
	start, pos := s.pos, s.pos
	if pos < len(s.buf) && s.buf[pos] == '-' {
		pos++
	}
	var mantissa uint64
	digits, point := pos, -1
	for ; pos < len(s.buf); pos++ {
		c := s.buf[pos]
		if c-'0' <= 9 {
			mantissa = mantissa*10 + uint64(c-'0')
		} else if c == '.' && point < 0 {
			point = pos
		} else {
			break
		}
	}
	count, fraction := pos-digits, 0
	if point >= 0 {
		count--
		fraction = pos - point - 1
	}
	plain := pos < len(s.buf) && s.buf[pos]|0x20 != 'e' && count > 0 && count <= 19
	grammar := point != digits && !(point >= 0 && fraction == 0) && // digits on both sides of the point
		!(count > 1 && s.buf[digits] == '0' && point != digits+1) // no leading zero
	if !plain || !grammar {
		return s.slowFloat32()
	}
	s.pos = pos
	v := float32(float64(mantissa) / powers[fraction])
	if s.buf[start] == '-' {
		v = -v
	}
	return v
}

func (s *scanner) slowFloat32() float32 {
	token, _ := s.number()
	if s.err != nil {
		return 0
	}
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(token), len(token)), 32)
	if err != nil || math.IsInf(v, 0) {
		s.failf("the JSON has the number %.40s before byte %d: it does not fit FP32", token, s.pos)
	}
	return float32(v)
}

// skip reads any value and ignores it.
func (s *scanner) skip() {
	switch c := s.peek(); c {
	case '{':
		for s.open('{'); s.more('}'); {
			s.key()
			s.skip()
		}
	case '[':
		for s.open('['); s.more(']'); {
			s.skip()
		}
	case '"':
		s.str()
	case 't', 'f':
		s.boolean()
	case 'n':
		s.null()
	default:
		s.number()
	}
}

// What errors call values that have no text.
var boolText, doubleText, otherText = []byte("a bool"), []byte("a double"), []byte("no value")

// value reads a value of any kind; arrays, objects and null are of kind Other.
func (s *scanner) value() value {
	switch c := s.peek(); c {
	case '"':
		return value{kind: String, text: s.str()}
	case 't', 'f':
		return value{kind: Boolean, bool: s.boolean(), text: boolText}
	case '{', '[', 'n':
		s.skip()
		return value{text: otherText}
	}
	token, whole := s.number()
	if s.err != nil {
		return value{}
	}
	text := unsafe.String(unsafe.SliceData(token), len(token))
	v := value{kind: Float, text: token}
	var err error
	if v.number, err = strconv.ParseFloat(text, 64); err != nil {
		s.failf("the JSON has the number %.40s before byte %d: it is too large", text, s.pos)
	}
	if v.int, err = strconv.ParseInt(text, 10, 64); whole && err == nil {
		v.kind = Integer
	}
	return v
}

// once fails if the bit is set in seen already, and sets it.
func (s *scanner) once(seen *uint, bit uint, key string) {
	if *seen&(1<<bit) != 0 {
		s.failf("the JSON has %q twice: send it once", key)
	}
	*seen |= 1 << bit
}
