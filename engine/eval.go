//go:build js && wasm

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/lineage"
	"github.com/open-policy-agent/opa/v1/util"
)

type evalRequest struct {
	policy
	Query string `json:"query"`
	// Inputs are evaluated one after the other over one compile. A JSON null is the input null; for a query that
	// is to see no input at all, leave the list out.
	Inputs []json.RawMessage `json:"inputs,omitempty"`
	// Explain is "", "notes", "fails" or "full": which part of the trace is returned. With any but "", rules are
	// listed too, and OPA's shortcuts (rule index, early exit) are off so that each rule shows why it did not hold.
	Explain string `json:"explain,omitempty"`
	// NowMs is what time.now_ns sees, in milliseconds since 1970; absent for the real time.
	NowMs *float64 `json:"nowMs,omitempty"`
	// Strict makes an error in a built-in function an error of the query instead of undefined.
	Strict bool `json:"strict,omitempty"`
	// Runtime is what opa.runtime() answers, for policies that may call it; absent: an empty object.
	Runtime json.RawMessage `json:"runtime,omitempty"`
	// Bounds of each evaluation; absent for none.
	Bounds *evalBounds `json:"bounds,omitempty"`
}

type evalAnswer struct {
	Results     []evalResult `json:"results"`
	Diagnostics []diagnostic `json:"diagnostics,omitempty"`
}

type evalResult struct {
	// Result is OPA's result set; empty where the query is undefined.
	Result rego.ResultSet  `json:"result"`
	Output string          `json:"output,omitempty"`
	Rules  []evaluatedRule `json:"rules,omitempty"`
	Trace  []string        `json:"trace,omitempty"`
	// Diagnostics are errors of this evaluation, such as two values for one complete rule.
	Diagnostics []diagnostic `json:"diagnostics,omitempty"`
}

// evaluatedRule is one rule that was tried: how often it held, and where it failed otherwise.
type evaluatedRule struct {
	Path   string `json:"path"`
	File   string `json:"file"`
	Row    int    `json:"row"`
	Column int    `json:"column"`
	Fired  int    `json:"fired"`
	// FailedAt is the expression that the last unsuccessful try ended with.
	FailedAt *place `json:"failedAt,omitempty"`
}

type place struct {
	File   string `json:"file"`
	Row    int    `json:"row"`
	Column int    `json:"column"`
	Text   string `json:"text"`
}

func placeOf(node *ast.Location) *place {
	return &place{File: node.File, Row: node.Row, Column: node.Col, Text: string(node.Text)}
}

// eval runs a query in OPA's interpreter.
func eval(request *evalRequest) (*evalAnswer, error) {
	p, found, err := request.parse()
	if err != nil || len(found) > 0 {
		return &evalAnswer{Diagnostics: found}, err
	}
	compiler := p.compiler().WithEnablePrintStatements(true)
	compiler.Compile(p.modules)
	if compiler.Failed() {
		return &evalAnswer{Diagnostics: request.diagnose("", compiler.Errors)}, nil
	}
	about, err := request.runtime()
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	prepared, err := rego.New(
		rego.Query(request.Query),
		rego.SetRegoVersion(p.version),
		rego.Capabilities(p.capabilities),
		rego.Compiler(compiler),
		rego.Store(inmem.NewFromObjectWithOpts(p.data, inmem.OptRoundTripOnWrite(false))),
		rego.EnablePrintStatements(true),
		rego.StrictBuiltinErrors(request.Strict),
		rego.Runtime(about),
	).PrepareForEval(ctx)
	if err != nil {
		return &evalAnswer{Diagnostics: request.diagnoseQuery(err)}, nil
	}
	answer := &evalAnswer{Results: []evalResult{}}
	if request.Inputs == nil {
		result, err := evalOne(ctx, request, &prepared, nil)
		if err != nil {
			return nil, err
		}
		answer.Results = append(answer.Results, *result)
	}
	for _, text := range request.Inputs {
		var input any
		if err := util.UnmarshalJSON(text, &input); err != nil {
			return nil, badRequest("inputs: %v", err)
		}
		value, err := ast.InterfaceToValue(input)
		if err != nil {
			return nil, badRequest("inputs: %v", err)
		}
		result, err := evalOne(ctx, request, &prepared, value)
		if err != nil {
			return nil, err
		}
		answer.Results = append(answer.Results, *result)
	}
	return answer, nil
}

// runtime is the answer of opa.runtime(); nil for OPA's own, an empty object.
func (request *evalRequest) runtime() (*ast.Term, error) {
	if len(request.Runtime) == 0 {
		return nil, nil
	}
	var about any
	if err := util.UnmarshalJSON(request.Runtime, &about); err != nil {
		return nil, badRequest("runtime: %v", err)
	}
	value, err := ast.InterfaceToValue(about)
	if err != nil {
		return nil, badRequest("runtime: %v", err)
	}
	return ast.NewTerm(value), nil
}

func evalOne(
	ctx context.Context, request *evalRequest, prepared *rego.PreparedEvalQuery, input ast.Value,
) (*evalResult, error) {
	var output bytes.Buffer
	options := []rego.EvalOption{rego.EvalPrintHook(topdown.NewPrintHook(&output)), rego.EvalParsedInput(input)}
	if request.NowMs != nil {
		options = append(options, rego.EvalTime(time.UnixMilli(int64(*request.NowMs))))
	}
	var bound *watched
	if request.Bounds != nil {
		bound = watch(*request.Bounds)
		options = append(options, rego.EvalExternalCancel(bound))
	}
	tracer := topdown.NewBufferTracer()
	if request.Explain != "" {
		options = append(options, rego.EvalQueryTracer(tracer), rego.EvalRuleIndexing(false), rego.EvalEarlyExit(false))
	}
	value, err := prepared.Eval(ctx, options...)
	result := &evalResult{Result: value, Output: output.String()}
	if result.Result == nil {
		result.Result = rego.ResultSet{}
	}
	if err != nil {
		result.Diagnostics = request.diagnoseEvaluation(err)
	}
	if bound != nil && bound.reason != "" {
		result.Result = rego.ResultSet{}
		result.Diagnostics = []diagnostic{{Code: topdown.CancelErr, Message: bound.reason}}
	}
	if request.Explain == "" {
		return result, nil
	}
	result.Rules = evaluatedRules(*tracer)
	switch request.Explain {
	case "notes":
		result.Trace = printTrace(lineage.Notes(*tracer))
	case "fails":
		result.Trace = printTrace(lineage.Fails(*tracer))
	case "full":
		result.Trace = printTrace(lineage.Full(*tracer))
	default:
		return nil, badRequest("explain: want notes, fails or full, got %q", request.Explain)
	}
	return result, nil
}

// diagnoseQuery turns errors of the query into diagnostics; they name no file.
func (request *evalRequest) diagnoseQuery(err error) []diagnostic {
	query := policy{Modules: []module{{Text: request.Query}}}
	return query.diagnose("", err)
}

// diagnoseEvaluation turns errors of an evaluation into diagnostics.
func (p *policy) diagnoseEvaluation(err error) []diagnostic {
	var failure *topdown.Error
	if !errors.As(err, &failure) {
		return p.diagnose("", err)
	}
	d := diagnostic{Code: failure.Code, Message: failure.Message}
	if failure.Location != nil {
		d.File, d.Row, d.Column = failure.Location.File, failure.Location.Row, failure.Location.Col
		d.Text = p.line(d.File, d.Row)
	}
	return []diagnostic{d}
}

// evaluatedRules reads off a trace which rules held and where the others failed, in the order they were first tried.
func evaluatedRules(trace []*topdown.Event) []evaluatedRule {
	byRule := map[*ast.Location]*evaluatedRule{}
	byQuery := map[uint64]*evaluatedRule{}
	var order []*evaluatedRule
	for _, event := range trace {
		rule, isRule := event.Node.(*ast.Rule)
		switch {
		case event.Op == topdown.EnterOp && isRule:
			known, ok := byRule[rule.Location]
			if !ok {
				known = &evaluatedRule{
					Path: rulePath(rule), File: rule.Location.File, Row: rule.Location.Row, Column: rule.Location.Col,
				}
				byRule[rule.Location] = known
				order = append(order, known)
			}
			byQuery[event.QueryID] = known
		case event.Op == topdown.ExitOp && isRule:
			if known := byQuery[event.QueryID]; known != nil {
				known.Fired++
			}
		case event.Op == topdown.FailOp && event.Location != nil:
			if known := byQuery[event.QueryID]; known != nil {
				known.FailedAt = placeOf(event.Location)
			}
		}
	}
	rules := make([]evaluatedRule, 0, len(order))
	for _, rule := range order {
		rules = append(rules, *rule)
	}
	return rules
}

// printTrace is OPA's own text form of a trace, one line each.
func printTrace(trace []*topdown.Event) []string {
	var text bytes.Buffer
	topdown.PrettyTraceWithOpts(&text, trace, topdown.PrettyTraceOptions{Locations: true, ExprVariables: true})
	return strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
}
