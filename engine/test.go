//go:build js && wasm

package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/lineage"
)

type testRequest struct {
	policy
	// Filter is a regular expression on a test's full name, such as "data.sallyport_test.test_denies".
	Filter string `json:"filter,omitempty"`
	// Coverage asks for the lines that the tests evaluated.
	Coverage bool `json:"coverage,omitempty"`
	// Explain is which part of a failing test's trace is returned: "fails" (the default), "notes" or "full".
	Explain string `json:"explain,omitempty"`
	// TimeoutMs is how long one test may take; 0 for as long as the call may.
	TimeoutMs int `json:"timeoutMs,omitempty"`
}

type testAnswer struct {
	Results     []testResult  `json:"results"`
	Coverage    *cover.Report `json:"coverage,omitempty"`
	Diagnostics []diagnostic  `json:"diagnostics,omitempty"`
}

type testResult struct {
	// Path is the test's full name; several tests of one name get a number at the end.
	Path    string `json:"path"`
	Package string `json:"package"`
	Name    string `json:"name"`
	File    string `json:"file"`
	Row     int    `json:"row"`
	// Outcome is "pass", "fail", "error" or "skip".
	Outcome    string  `json:"outcome"`
	DurationMs float64 `json:"durationMs"`
	Error      string  `json:"error,omitempty"`
	TimedOut   bool    `json:"timedOut,omitempty"`
	Output     string  `json:"output,omitempty"`
	// Cases are the named cases of a test that is written as a table.
	Cases []testCase `json:"cases,omitempty"`
	// FailedAt is the expression of the test itself that did not hold.
	FailedAt *place   `json:"failedAt,omitempty"`
	Trace    []string `json:"trace,omitempty"`
}

type testCase struct {
	Name   string `json:"name"`
	Failed bool   `json:"failed,omitempty"`
}

// noTimeout stands for none: the host ends the whole thread when a call takes too long.
const noTimeout = 24 * time.Hour

// timeoutError is how an ended test says so.
const timeoutError = "the test took longer than %v and was ended"

func (request *testRequest) timeout() time.Duration {
	if request.TimeoutMs == 0 {
		return noTimeout
	}
	return time.Duration(request.TimeoutMs) * time.Millisecond
}

// test runs all tests, then the failing ones again with tracing, which would slow the others down many times.
func test(request *testRequest) (*testAnswer, error) {
	if _, err := regexp.Compile(request.Filter); err != nil {
		return nil, badRequest("filter: %v", err)
	}
	p, found, err := request.parse()
	if err != nil || len(found) > 0 {
		return &testAnswer{Diagnostics: found}, err
	}
	runner := tester.NewRunner().Filter(request.Filter).SetTimeout(request.timeout())
	if request.TimeoutMs > 0 {
		runner.SetCoverageQueryTracer(&yielding{})
	}
	raw, err := runTests(p, runner)
	if err != nil {
		return &testAnswer{Diagnostics: request.diagnose("", err)}, nil
	}
	answer := &testAnswer{Results: make([]testResult, 0, len(raw))}
	byPath := map[string]*testResult{}
	var failed []string
	for _, r := range raw {
		answer.Results = append(answer.Results, describeTest(r, request.timeout()))
	}
	for i := range answer.Results {
		result := &answer.Results[i]
		byPath[result.Path] = result
		if result.Outcome == "fail" || result.Outcome == "error" {
			failed = append(failed, result.Path)
		}
	}
	if err := explainFailures(p, failed, func(path string, trace []*topdown.Event) {
		result := byPath[path]
		result.FailedAt = failedAt(result, trace)
		result.Trace = printTrace(selectTrace(request.Explain, trace))
	}); err != nil {
		return nil, err
	}
	// Only of tests that end: OPA's coverage is a tracer of its own, which cannot be one that lets timers run.
	if request.Coverage && !timedOut(answer.Results) {
		coverage := cover.New()
		again := tester.NewRunner().Filter(request.Filter).SetTimeout(noTimeout).SetCoverageQueryTracer(coverage)
		if _, err := runTests(p, again); err != nil {
			return nil, err
		}
		report := coverage.Report(p.modules)
		answer.Coverage = &report
	}
	return answer, nil
}

func timedOut(results []testResult) bool {
	return slices.ContainsFunc(results, func(result testResult) bool { return result.TimedOut })
}

// explainFailures evaluates each failed test once more and tells its trace. OPA's shortcuts (rule index, early exit) are
// off: with them, a test that the index excludes would have failed for no visible reason.
func explainFailures(p *parsed, failed []string, tell func(path string, trace []*topdown.Event)) error {
	if len(failed) == 0 {
		return nil
	}
	compiler := p.compiler()
	compiler.Compile(p.modules)
	if compiler.Failed() {
		return compiler.Errors
	}
	ctx := context.Background()
	store := inmem.NewFromObjectWithOpts(p.data, inmem.OptRoundTripOnWrite(false))
	for _, path := range failed {
		// The second of two tests of one name ends with #01, which a query takes for a comment: it is the rule of both.
		prepared, err := rego.New(
			rego.Query(path), rego.SetRegoVersion(p.version), rego.Capabilities(p.capabilities), rego.Compiler(compiler), rego.Store(store),
		).PrepareForEval(ctx)
		if err != nil {
			return err
		}
		tracer := topdown.NewBufferTracer()
		// Of a test that ends with an error, the trace shows the way to it.
		bound := watch(traceBounds)
		_, _ = prepared.Eval(ctx, rego.EvalQueryTracer(tracer), rego.EvalRuleIndexing(false), rego.EvalEarlyExit(false),
			rego.EvalExternalCancel(bound))
		tell(path, *tracer)
	}
	return nil
}

// runTests runs what the runner selects, one test at a time, and returns the results in the order of the source.
func runTests(p *parsed, runner *tester.Runner) ([]*tester.Result, error) {
	ctx := context.Background()
	store := inmem.NewFromObjectWithOpts(p.data, inmem.OptRoundTripOnWrite(false))
	var results []*tester.Result
	err := storage.Txn(ctx, store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		ch, err := runner.
			SetCompiler(p.compiler().WithEnablePrintStatements(true)).
			SetStore(store).
			SetModules(p.modules).
			SetDefaultRegoVersion(p.version).
			CapturePrintOutput(true).
			RaiseBuiltinErrors(false).
			SetParallel(1).
			RunTests(ctx, txn)
		if err != nil {
			return err
		}
		for result := range ch {
			results = append(results, result)
		}
		return nil
	})
	sort.SliceStable(results, func(i, j int) bool {
		a, b := results[i].Location, results[j].Location
		if a.File != b.File {
			return a.File < b.File
		}
		return a.Row < b.Row
	})
	return results, err
}

func testPath(r *tester.Result) string {
	return r.Package + "." + r.Name
}

func describeTest(r *tester.Result, limit time.Duration) testResult {
	result := testResult{
		Path:       testPath(r),
		Package:    r.Package,
		Name:       r.Name,
		File:       r.Location.File,
		Row:        r.Location.Row,
		Outcome:    "pass",
		DurationMs: float64(r.Duration.Microseconds()) / 1000,
		Output:     string(r.Output),
	}
	switch {
	case r.Error != nil && r.Duration >= limit:
		result.Outcome, result.Error, result.TimedOut = "error", fmt.Sprintf(timeoutError, limit), true
	case r.Error != nil:
		result.Outcome, result.Error = "error", r.Error.Error()
	case r.Skip:
		result.Outcome = "skip"
	case r.Fail:
		result.Outcome = "fail"
	}
	for name, sub := range r.SubResults.Iter {
		// Only the ends of a nested table are cases; what is above sums them up.
		if len(sub.SubResults) == 0 {
			result.Cases = append(result.Cases, testCase{Name: joinNames(name), Failed: sub.Fail})
		}
	}
	return result
}

func joinNames(names []string) string {
	joined := ""
	for i, name := range names {
		if i > 0 {
			joined += " / "
		}
		joined += name
	}
	return joined
}

// failedAt finds the last expression in the body of the test rule that failed. Deeper failures are in the trace.
func failedAt(result *testResult, trace []*topdown.Event) *place {
	body := map[uint64]bool{}
	var found *place
	for _, event := range trace {
		switch rule, isRule := event.Node.(*ast.Rule); {
		case event.Op == topdown.EnterOp && isRule:
			if rule.Location.File == result.File && rule.Location.Row == result.Row {
				body[event.QueryID] = true
			}
		case event.Op == topdown.FailOp && body[event.QueryID] && event.Location != nil:
			found = placeOf(event.Location)
		}
	}
	return found
}

func selectTrace(explain string, trace []*topdown.Event) []*topdown.Event {
	switch explain {
	case "full":
		return lineage.Full(trace)
	case "notes":
		return lineage.Notes(trace)
	}
	return lineage.Fails(trace)
}
