//go:build js && wasm

// Command engine is OPA's own Rego toolchain as one function for JavaScript: engine(op, json) -> json.
// Texts and bytes are passed in and out, never paths: the module has no file system and no network.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall/js"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/version"
)

// operations maps an operation's name to its implementation: request in JSON to a value that is marshalled.
var operations = map[string]func(request []byte) (any, error){
	"version":      opVersion,
	"capabilities": opCapabilities,
	"build":        operation(build),
	"check":        operation(check),
	"format":       operation(formatModules),
	"lint":         operation(lint),
	"inspect":      operation(inspect),
	"deps":         operation(deps),
	"eval":         operation(eval),
	"test":         operation(test),
	"bundle_open":  operation(bundleOpen),
	"bundle_read":  operation(bundleRead),
	"bundle_write": operation(bundleWrite),
}

// fault is a failed call: the request was wrong, or the toolchain itself failed. What is wrong with a
// policy is never a fault; it is a diagnostic in the operation's answer.
type fault struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type answer struct {
	Value any    `json:"value,omitempty"`
	Error *fault `json:"error,omitempty"`
}

// errRequest marks an error as the caller's: the request cannot be carried out as it was written.
var errRequest = errors.New("bad request")

func badRequest(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errRequest, fmt.Sprintf(format, args...))
}

// operation decodes the request strictly, so that a misspelt option is an error and not silently ignored.
func operation[Q, A any](run func(request *Q) (A, error)) func([]byte) (any, error) {
	return func(raw []byte) (any, error) {
		var request Q
		decoder := json.NewDecoder(strings.NewReader(string(raw)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&request); err != nil {
			return nil, badRequest("%v", err)
		}
		return run(&request)
	}
}

func opVersion([]byte) (any, error) {
	return map[string]string{"opa": version.Version, "go": runtime.Version()}, nil
}

// opCapabilities is everything that this OPA knows, in OPA's own format, with the features of both syntaxes.
func opCapabilities([]byte) (any, error) {
	known := ast.CapabilitiesForThisVersion()
	old := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV0))
	known.Features = union(known.Features, old.Features)
	known.FutureKeywords = union(known.FutureKeywords, old.FutureKeywords)
	return known, nil
}

func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// call runs one operation; whatever happens inside becomes an answer.
func call(op string, request []byte) (result answer) {
	defer func() {
		if r := recover(); r != nil {
			result = answer{Error: &fault{Code: "panic", Message: fmt.Sprintf("%s: %v", op, r)}}
		}
	}()
	run, ok := operations[op]
	if !ok {
		return answer{Error: &fault{Code: "bad_request", Message: "unknown operation " + op}}
	}
	value, err := run(request)
	switch {
	case errors.Is(err, errRequest):
		return answer{Error: &fault{Code: "bad_request", Message: op + ": " + err.Error()}}
	case err != nil:
		return answer{Error: &fault{Code: "failed", Message: op + ": " + err.Error()}}
	}
	return answer{Value: value}
}

func main() {
	// A policy that recurses without end must stop this program, not fill the host's memory.
	debug.SetMaxStack(128 << 20)
	js.Global().Set("sallyportEngine", js.FuncOf(func(_ js.Value, args []js.Value) any {
		result := call(args[0].String(), []byte(args[1].String()))
		text, err := json.Marshal(result)
		if err != nil {
			text, _ = json.Marshal(answer{Error: &fault{Code: "failed", Message: err.Error()}})
		}
		return string(text)
	}))
	select {}
}
