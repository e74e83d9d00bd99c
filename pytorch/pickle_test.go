package pytorch

import (
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// run executes a pickle over two storages, "0" with 24 floats and "1" with 8 integers.
func run(in string) (any, error) {
	known := map[string]*storage{}
	u := &unpickler{in: []byte(in), call: call, load: func(id tuple) (any, error) { return storageOf(id, known) }}
	return u.run()
}

func TestPickle(t *testing.T) {
	huge, _ := new(big.Int).SetString("1950a86a20f9469cfc6c", 16)
	tests := []struct {
		name, in string
		want     any
	}{
		{"none", "N.", nil},
		{"booleans", "\x80\x02\x88\x89\x86.", tuple{true, false}},
		{"bytes", "K\xff.", int64(255)},
		{"words", "M\x34\x12.", int64(0x1234)},
		{"negative", "J\xfe\xff\xff\xff.", int64(-2)},
		{"long", "\x8a\x02\x00\x80.", int64(-32768)},
		{"empty long", "\x8a\x00.", int64(0)},
		{"huge long", "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", huge},
		{"float", "G\x3f\xf8\x00\x00\x00\x00\x00\x00.", 1.5},
		{"strings", "(U\x01aX\x01\x00\x00\x00b\x8c\x01cT\x01\x00\x00\x00dt.", tuple{"a", "b", "c", "d"}},
		{"raw", "(C\x01aB\x01\x00\x00\x00bt.", tuple{[]byte("a"), []byte("b")}},
		{"list", "](K\x01K\x02eK\x03a.", &list{[]any{int64(1), int64(2), int64(3)}}},
		{"dict", "}(K\x01Nuh\x00.", nil},
		{"memo", "\x80\x04\x8c\x01a\x94h\x00\x86.", tuple{"a", "a"}},
		{"frame", "\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00N.", nil},
		{"pops", "K\x01(NN1N0.", int64(1)},
		{"ordered dict", "ccollections\nOrderedDict\n)R(K\x01Nu}b.", &dict{[]any{int64(1)}, []any{nil}}},
		{"python 2's", "ccollections\nOrderedDict\n]](K\x01Nea\x85R.", &dict{[]any{int64(1)}, []any{nil}}},
	}
	for _, tt := range tests {
		got, err := run(tt.in)
		if tt.name == "dict" {
			if err == nil {
				t.Error("reads a memo that is not there")
			}
			continue
		}
		if err != nil || !cmp.Equal(got, tt.want, cmp.AllowUnexported(list{}, dict{}), cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })) {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
}

// Pickles of few bytes that would take much memory or time if they were believed.
func TestBombs(t *testing.T) {
	lots := "](" + strings.Repeat("N", 1000) + "e" // a list
	dims := "(" + strings.Repeat("K\x01", 1000) + "t"
	tests := []struct{ name, in, want string }{
		{"copies of a list", "ccollections\nOrderedDict\nq\x00](" + strings.Repeat(")", 1000) + "e\x85q\x01R0", "entry of 0 parts"},
		{"many copies", "ccollections\nOrderedDict\nq\x00](" + strings.Repeat("NN\x86", 10000) + "e\x85q\x01" + strings.Repeat("h\x00h\x01R0", 1000) + ".", "more than 2097152 operations"},
		{"dimensions", "ctorch._utils\n_rebuild_tensor\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nU\x010U\x03cpuK\x18tQK\x00" + dims + dims + "tR.", "a tuple and a tuple"},
		{"list that holds itself", "]q\x00h\x00aQ.", "names a storage by a list"},
		{"long name", "c" + strings.Repeat("x", 1000) + "\ny\n)R.", "asks for " + strings.Repeat("x", 200) + "…, which is refused"},
		{"terminal", "c\x1b[2J\ny\n)R.", `asks for "\x1b[2J.y", which is refused`},
		{"not a dictionary", lots + ".", ""},
	}
	for _, tt := range tests {
		v, err := run(tt.in)
		if err == nil {
			_, err = find(v)
			tt.want = "holds a list"
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	// Each tuple holds the one before twice: 2^40 parts to whoever walks through it.
	deep := strings.Repeat("2\x86", 40)
	if _, err := find(&dict{[]any{mustRun(t, "N"+deep+".")}, []any{nil}}); err == nil || !strings.Contains(err.Error(), "its keys are tuple") {
		t.Error(err)
	}
}

func mustRun(t *testing.T, in string) any {
	t.Helper()
	v, err := run(in)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPickleRefused(t *testing.T) {
	storage := "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nU\x010U\x03cpu" // and the number of elements
	rebuild := "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + "K\x18tQ"    // and offset, shape, strides
	tests := []struct{ name, in, want string }{
		{"empty", "", "truncated"},
		{"no stop", "N", "truncated"},
		{"nothing left", ".", "takes more from its stack"},
		{"below the mark", "N(.", "takes more from its stack"},
		{"no mark", "Nt.", "takes more from its stack"},
		{"long string", "X\xff\xff\xff\xff.", "truncated"},
		{"longer string", "\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "truncated"},
		{"unknown operation", "Z.", "operation 0x5a at byte 0"},
		{"protocol 0", "\x80\x00.", "protocol 0: must be 2 to 5"},
		{"odd items", "}(NNNu.", "adds 3 items to a dict"},
		{"append to a tuple", ")Na.", "adds 1 items to a tuple"},
		{"system", "cos\nsystem\n(U\x02lstR.", "asks for os.system, which is refused"},
		{"system by protocol 4", "\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.", "asks for os.system, which is refused"},
		{"instance", "cbuiltins\neval\n)\x81.", "asks for builtins.eval, which is refused"},
		{"call a tensor's class", "N)R.", "calls a None with a tuple"},
		{"attributes of a function", "cos\nsystem\n}b.", "sets attributes of a global os.system"},
		{"other persistent object", "U\x06moduleQ.", "names a storage by a string"},
		{"storage of another kind", "(X\x07\x00\x00\x00storagecos\nsystem\nU\x010U\x03cpuK\x01tQ.", "has a global os.system"},
		{"complex storage", strings.Replace(storage, "Float", "ComplexFloat", 1) + "K\x01tQ.", "weights must be float32"},
		{"negative storage", storage + "J\xff\xff\xff\xfftQ.", "-1 elements"},
		{"storage twice", storage + "K\x01tQ" + storage + "K\x02tQ.", "of two kinds"},
		{"2^60 elements", rebuild + "K\x00(J\x00\x00\x00\x40J\x00\x00\x00\x40t(K\x00K\x00ttR.", "does not fit its storage of 24 elements"},
		{"broadcast", rebuild + "K\x00(K\x19t(K\x00ttR.", "does not fit its storage of 24 elements"},
		{"behind the end", rebuild + "K\x01(K\x18t(K\x01ttR.", "does not fit its storage of 24 elements"},
		{"stride behind the end", rebuild + "K\x00(K\x02t(J\xff\xff\xff\x7fttR.", "does not fit its storage"},
		{"negative stride", rebuild + "K\x17(K\x02t(J\xff\xff\xff\xffttR.", "does not fit its storage"},
		{"negative size", rebuild + "K\x00(J\xff\xff\xff\xfft(K\x01ttR.", "does not fit its storage"},
		{"negative offset", rebuild + "J\xff\xff\xff\xff(K\x01t(K\x01ttR.", "offset -1"},
		{"few strides", rebuild + "K\x00(K\x02K\x02t(K\x01ttR.", "strides [1]"},
		{"a tensor of names", rebuild + "K\x00U\x01a)tR.", "a tensor is made of a storage, a number, a string and a tuple"},
		{"half a tensor", rebuild + "K\x00tR.", "2 parts"},
		{"parameter of nothing", "ctorch._utils\n_rebuild_parameter\n)R.", "a parameter is not a tensor"},
		{"odd ordered dict", "ccollections\nOrderedDict\n]]Naa\x85R.", "entry of 1 parts"},
		{"endless", strings.Repeat("N0", maxOps), "more than 2097152 operations"},
	}
	for _, tt := range tests {
		if _, err := run(tt.in); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
