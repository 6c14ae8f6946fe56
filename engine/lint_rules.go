//go:build js && wasm

package main

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// lintRule is one thing that is looked for; tests tells whether also in tests.
type lintRule struct {
	name, severity, hint string
	tests                bool
	run                  func(*linter, lintRule)
}

// lintRules are the traps of authorization policies first, then what is most likely a mistake. What OPA's strict mode refuses
// (unused variables and imports, shadowed input and data, deprecated functions) is not repeated: check says it.
var lintRules = []lintRule{
	{name: "negated-call", severity: "error", run: lintNegatedCalls,
		hint: "where the field is missing neither this nor its opposite holds: put the call into a rule of its own and negate that rule"},
	{name: "denial-from-field", severity: "error", run: lintDenialHeads,
		hint: "where the field is missing this denial is silently not made: use object.get with a default, or constants only"},
	{name: "compare-unchecked", severity: "error", run: lintComparisons,
		hint: "null is less than every number and a text is more: require is_number of it in the same body"},
	{name: "text-prefix", severity: "error", run: lintPrefixes,
		hint: "projects/p1 is also a prefix of projects/p10: compare by segments, as data.lib.paths does, or end the prefix with /"},
	{name: "glob-delimiters", severity: "error", run: lintGlobs,
		hint: "without the delimiter \"/\" one * matches many segments: write glob.match(pattern, [\"/\"], path)"},
	{name: "pattern-unanchored", severity: "error", run: lintPatterns,
		hint: "the pattern may match anywhere inside the text: begin it with ^ and end it with $"},
	{name: "every-of-none", severity: "error", run: lintEvery,
		hint: "every holds for an empty list: require count of it to be more than 0 in the same body"},
	{name: "unconditional-allow", severity: "error", run: lintAllows,
		hint: "this allows whatever the request is: give it conditions"},
	{name: "default-missing", severity: "warning", run: lintDefaults,
		hint: "add a default that refuses, so that the answer is never undefined"},
	{name: "constant-condition", severity: "warning", tests: true, run: lintConstants,
		hint: "this is the same for every request: remove it or compare with what was meant"},
	{name: "print-left", severity: "warning", run: lintPrints,
		hint: "print is for finding mistakes; what it writes may hold secrets of requests"},
	{name: "shadows-builtin", severity: "warning", tests: true, run: lintNames,
		hint: "give the rule another name: readers take this one for OPA's own"},
	{name: "array-equality", severity: "warning", run: lintArrays,
		hint: "an array is equal only in this order and with nothing else: use in, or compare sets"},
	{name: "format-arguments", severity: "warning", tests: true, run: lintFormats,
		hint: "give sprintf one argument for each verb"},
}

func isField(ref ast.Ref) bool {
	head, ok := ref[0].Value.(ast.Var)
	return ok && len(ref) > 1 && !head.IsWildcard()
}

func isInput(ref ast.Ref) bool {
	return isField(ref) && ref[0].Value.Compare(ast.Var("input")) == 0
}

// refsOf visits what is referred to in x, without the names of the functions that are called there.
func refsOf(x any, visit func(ast.Ref, *ast.Term)) {
	ast.WalkTerms(x, func(term *ast.Term) bool {
		switch value := term.Value.(type) {
		case ast.Call:
			for _, operand := range value[1:] {
				refsOf(operand, visit)
			}
			return true
		case ast.Ref:
			visit(value, term)
		}
		return false
	})
}

// invocation is a function or operator with what it is given, as an expression or inside one.
type invocation struct {
	name     string
	operands []*ast.Term
	location *ast.Location
}

func callsIn(x any, visit func(invocation)) {
	ast.WalkExprs(x, func(expr *ast.Expr) bool {
		if expr.IsCall() {
			visit(invocation{expr.Operator().String(), expr.Operands(), expr.Location})
		}
		return false
	})
	ast.WalkTerms(x, func(term *ast.Term) bool {
		if value, ok := term.Value.(ast.Call); ok {
			visit(invocation{value[0].String(), value[1:], term.Location})
		}
		return false
	})
}

// rules are all of the module, those after else among them.
func (l *linter) rules(visit func(*ast.Rule)) {
	ast.WalkRules(l.module, func(rule *ast.Rule) bool {
		visit(rule)
		return false
	})
}

// hasNoBody tells of a rule that is written without a condition: the parser gives it a body that is true, which stands where the
// value or the whole rule does.
func hasNoBody(rule *ast.Rule) bool {
	if len(rule.Body) != 1 {
		return false
	}
	term, ok := rule.Body[0].Terms.(*ast.Term)
	if !ok || !ast.Boolean(true).Equal(term.Value) {
		return false
	}
	at, value := rule.Body[0].Location, rule.Head.Value
	isValue := value != nil && value.Location != nil && value.Location.Row == at.Row && value.Location.Col == at.Col
	return isValue || string(at.Text) != "true"
}

func text(term *ast.Term) (string, bool) {
	value, ok := term.Value.(ast.String)
	return string(value), ok
}
