//go:build js && wasm

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// lintNegatedCalls: OPA looks up what a call is given before it negates, so a missing field ends the body instead of making it hold.
func lintNegatedCalls(l *linter, rule lintRule) {
	ast.WalkExprs(l.module, func(expr *ast.Expr) bool {
		if !expr.Negated {
			return false
		}
		terms := expr.Operands()
		if term, ok := expr.Terms.(*ast.Term); ok {
			if value, isCall := term.Value.(ast.Call); isCall {
				terms = value[1:]
			}
		}
		for _, term := range terms {
			refsOf(term, func(ref ast.Ref, _ *ast.Term) {
				if isField(ref) {
					l.report(rule, expr.Location, fmt.Sprintf("a call with %s is negated", ref))
				}
			})
		}
		return false
	})
}

// lintDenialHeads looks at the heads of sets, and at what their variables are assigned.
func lintDenialHeads(l *linter, rule lintRule) {
	l.rules(func(r *ast.Rule) {
		if r.Head.RuleKind() != ast.MultiValue || r.Head.Key == nil {
			return
		}
		report := func(ref ast.Ref, term *ast.Term) {
			if isInput(ref) {
				l.report(rule, term.Location, fmt.Sprintf("the head of a set needs %s", ref))
			}
		}
		refsOf(r.Head.Key, report)
		inHead := map[ast.Var]bool{}
		ast.WalkVars(r.Head.Key, func(v ast.Var) bool {
			inHead[v] = true
			return false
		})
		for _, expr := range r.Body {
			if operands := expr.Operands(); len(operands) == 2 && (expr.IsAssignment() || expr.IsEquality()) {
				if name, ok := operands[0].Value.(ast.Var); ok && inHead[name] {
					refsOf(operands[1], report)
				}
			}
		}
	})
}

// lintComparisons wants is_number of each field, and of each value taken with object.get, that is compared by size in the same body.
func lintComparisons(l *linter, rule lintRule) {
	ordering := []string{"lt", "lte", "gt", "gte"}
	ast.WalkBodies(l.module, func(body ast.Body) bool {
		checked, taken := map[string]bool{}, map[string]bool{}
		for _, expr := range body {
			switch operands := expr.Operands(); {
			case !expr.IsCall() || expr.Negated:
			case expr.Operator().String() == "is_number":
				checked[operands[0].String()] = true
			case expr.IsAssignment() && isGet(operands[1]):
				taken[operands[0].String()] = true
			}
		}
		for _, expr := range body {
			if !expr.IsCall() || !slices.Contains(ordering, expr.Operator().String()) {
				continue
			}
			for _, operand := range expr.Operands() {
				ref, isRef := operand.Value.(ast.Ref)
				if (isRef && isField(ref) || isGet(operand) || taken[operand.String()]) && !checked[operand.String()] {
					l.report(rule, operand.Location, "compared by size, and perhaps no number: "+operand.String())
				}
			}
		}
		return false
	})
}

func isGet(term *ast.Term) bool {
	value, ok := term.Value.(ast.Call)
	return ok && value[0].String() == "object.get"
}

func lintPrefixes(l *linter, rule lintRule) {
	callsIn(l.module, func(c invocation) {
		if c.name != "startswith" || len(c.operands) < 2 {
			return
		}
		if prefix, ok := text(c.operands[1]); !ok || !strings.HasSuffix(prefix, "/") {
			l.report(rule, c.location, "texts are compared by a prefix that need not end where a segment does")
		}
	})
}

func lintGlobs(l *linter, rule lintRule) {
	callsIn(l.module, func(c invocation) {
		if c.name != "glob.match" || len(c.operands) < 3 {
			return
		}
		array, isArray := c.operands[1].Value.(*ast.Array)
		_, isNull := c.operands[1].Value.(ast.Null)
		if isNull || (isArray && array.Len() == 0) {
			l.report(rule, c.location, "a glob without delimiters")
		}
	})
}

func lintPatterns(l *linter, rule lintRule) {
	callsIn(l.module, func(c invocation) {
		if c.name != "regex.match" || len(c.operands) < 2 {
			return
		}
		pattern, ok := text(c.operands[0])
		if ok && !(strings.HasPrefix(pattern, "^") && strings.HasSuffix(pattern, "$")) {
			l.report(rule, c.operands[0].Location, "a pattern that is not bound to the whole text")
		}
	})
}

// lintEvery wants a count of each field of the input whose members must all hold.
func lintEvery(l *linter, rule lintRule) {
	ast.WalkBodies(l.module, func(body ast.Body) bool {
		counted := map[string]bool{}
		callsIn(body, func(c invocation) {
			if c.name == "count" {
				counted[c.operands[0].String()] = true
			}
		})
		for _, expr := range body {
			every, ok := expr.Terms.(*ast.Every)
			if !ok {
				continue
			}
			ref, isRef := every.Domain.Value.(ast.Ref)
			if isRef && isInput(ref) && !counted[ref.String()] {
				l.report(rule, every.Domain.Location, fmt.Sprintf("every of %s, which may be empty", ref))
			}
		}
		return false
	})
}

// lintAllows looks for an allow that nothing stands before: allow itself, and decisions with such a member.
func lintAllows(l *linter, rule lintRule) {
	l.rules(func(r *ast.Rule) {
		if (r.Default || hasNoBody(r)) && r.Head.Value != nil && allows(r) {
			l.report(rule, r.Head.Location, "allowed without a condition")
		}
	})
}

func allows(r *ast.Rule) bool {
	if object, ok := r.Head.Value.Value.(ast.Object); ok {
		member := object.Get(ast.StringTerm("allow"))
		return member != nil && ast.Boolean(true).Equal(member.Value)
	}
	return r.Head.Ref().String() == "allow" && ast.Boolean(true).Equal(r.Head.Value.Value)
}
