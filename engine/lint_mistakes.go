//go:build js && wasm

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// lintDefaults wants a default of each rule that is annotated as an entrypoint.
func lintDefaults(l *linter, rule lintRule) {
	withDefault := map[string]bool{}
	l.rules(func(r *ast.Rule) {
		if r.Default {
			withDefault[r.Head.Ref().String()] = true
		}
	})
	reported := map[string]bool{}
	l.rules(func(r *ast.Rule) {
		name := r.Head.Ref().String()
		isEntrypoint := slices.ContainsFunc(r.Annotations, func(a *ast.Annotations) bool { return a.Entrypoint })
		if isEntrypoint && !withDefault[name] && !reported[name] {
			reported[name] = true
			l.report(rule, r.Head.Location, fmt.Sprintf("the entrypoint %s has no default", name))
		}
	})
}

// lintConstants looks for conditions that hold always or never: a scalar, or two of them compared.
func lintConstants(l *linter, rule lintRule) {
	comparing := []string{"equal", "neq", "lt", "lte", "gt", "gte"}
	withoutBody := map[*ast.Expr]bool{}
	l.rules(func(r *ast.Rule) {
		if hasNoBody(r) {
			withoutBody[r.Body[0]] = true
		}
	})
	ast.WalkExprs(l.module, func(expr *ast.Expr) bool {
		if withoutBody[expr] {
			return false
		}
		term, isTerm := expr.Terms.(*ast.Term)
		constant := isTerm && ast.IsScalar(term.Value)
		if expr.IsCall() && slices.Contains(comparing, expr.Operator().String()) {
			operands := expr.Operands()
			constant = ast.IsScalar(operands[0].Value) && ast.IsScalar(operands[1].Value)
		}
		if constant {
			l.report(rule, expr.Location, "a condition that does not depend on anything")
		}
		return false
	})
}

func lintPrints(l *linter, rule lintRule) {
	callsIn(l.module, func(c invocation) {
		if c.name == "print" {
			l.report(rule, c.location, "print is left in a policy")
		}
	})
}

// lintNames looks for rules that are called as a function of OPA is, or as a family of them.
func lintNames(l *linter, rule lintRule) {
	reported := map[string]bool{}
	l.rules(func(r *ast.Rule) {
		name, ok := r.Head.Ref()[0].Value.(ast.Var)
		if !ok || reported[string(name)] || !builtinNames()[string(name)] {
			return
		}
		reported[string(name)] = true
		l.report(rule, r.Head.Location, fmt.Sprintf("the rule %s is named as something of OPA's is", name))
	})
}

var builtinNameSet map[string]bool

func builtinNames() map[string]bool {
	if builtinNameSet == nil {
		builtinNameSet = map[string]bool{}
		for _, builtin := range ast.Builtins {
			family, _, _ := strings.Cut(builtin.Name, ".")
			if builtin.Infix == "" && family != "internal" {
				builtinNameSet[family] = true
			}
		}
	}
	return builtinNameSet
}

// lintArrays: of what the input holds, the order and the rest are rarely meant.
func lintArrays(l *linter, rule lintRule) {
	callsIn(l.module, func(c invocation) {
		if c.name != "equal" && c.name != "neq" {
			return
		}
		for i, operand := range c.operands {
			ref, isRef := operand.Value.(ast.Ref)
			array, isArray := c.operands[1-i].Value.(*ast.Array)
			if isRef && isInput(ref) && isArray && array.Len() > 0 {
				l.report(rule, c.location, fmt.Sprintf("%s is compared with a whole array", ref))
			}
		}
	})
}

// formatVerb is one verb of sprintf, or an escaped percent sign.
var formatVerb = regexp.MustCompile(`%[-+# 0]*[0-9]*(?:\.[0-9]+)?[a-zA-Z%]`)

func lintFormats(l *linter, rule lintRule) {
	callsIn(l.module, func(c invocation) {
		if c.name != "sprintf" || len(c.operands) < 2 {
			return
		}
		format, isText := text(c.operands[0])
		array, isArray := c.operands[1].Value.(*ast.Array)
		// Of what names its arguments by number, or takes a width from them, nothing is said.
		if !isText || !isArray || strings.ContainsAny(format, "[*") {
			return
		}
		verbs := 0
		for _, verb := range formatVerb.FindAllString(format, -1) {
			if !strings.HasSuffix(verb, "%") {
				verbs++
			}
		}
		if verbs != array.Len() {
			l.report(rule, c.location, fmt.Sprintf("%d verbs and %d arguments", verbs, array.Len()))
		}
	})
}
