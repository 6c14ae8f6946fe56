//go:build js && wasm

package main

import (
	"regexp"
	"sort"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

type lintRequest struct {
	policy
}

type lintAnswer struct {
	Findings []lintFinding `json:"findings"`
	// Diagnostics are why nothing was looked at: a module that cannot be read.
	Diagnostics []diagnostic `json:"diagnostics,omitempty"`
}

// lintFinding is one suspicion; its code is the name of the rule. "error" opens a hole, "warning" is a likely mistake.
type lintFinding struct {
	diagnostic
	Severity string `json:"severity"`
	Hint     string `json:"hint"`
}

// linter looks at one module as it was parsed: the compiler rewrites what authors wrote.
type linter struct {
	source *policy
	module *ast.Module
	file   string
	found  []lintFinding
}

// lint looks at each module alone. Tests are looked at for mistakes only: the traps are such because an answer is given by them.
func lint(request *lintRequest) (*lintAnswer, error) {
	p, diagnostics, err := request.parse()
	if err != nil || len(diagnostics) > 0 {
		return &lintAnswer{Findings: []lintFinding{}, Diagnostics: diagnostics}, err
	}
	answer := &lintAnswer{Findings: []lintFinding{}}
	for _, name := range p.names {
		l := &linter{source: &request.policy, module: p.modules[name], file: name}
		isTest := strings.HasSuffix(name, "_test.rego")
		for _, rule := range lintRules {
			if !isTest || rule.tests {
				rule.run(l, rule)
			}
		}
		answer.Findings = append(answer.Findings, l.withoutIgnored()...)
	}
	return answer, nil
}

func (l *linter) report(rule lintRule, location *ast.Location, message string) {
	first, _, _ := strings.Cut(string(location.Text), "\n")
	l.found = append(l.found, lintFinding{
		diagnostic: diagnostic{
			File: l.file, Row: location.Row, Column: location.Col, Length: len([]rune(first)),
			Code: rule.name, Message: message, Text: l.source.line(l.file, location.Row),
		},
		Severity: rule.severity,
		Hint:     rule.hint,
	})
}

// ignoreComment is `# lint:ignore RULE …: why`, on the line itself or on the one above.
var ignoreComment = regexp.MustCompile(`^\s*lint:ignore\b([^:]*)(?::\s*(.*))?$`)

var ignoreRule = lintRule{
	name: "ignore", severity: "warning",
	hint: "write # lint:ignore RULE: why, on the line that is meant or on the one above",
}

// withoutIgnored drops what the author explained, and reports explanations of nothing.
func (l *linter) withoutIgnored() []lintFinding {
	found := l.found
	l.found = nil
	for _, comment := range l.module.Comments {
		match := ignoreComment.FindStringSubmatch(string(comment.Text))
		if match == nil {
			continue
		}
		if strings.TrimSpace(match[2]) == "" {
			l.report(ignoreRule, comment.Location, "a finding is ignored without a reason")
			continue
		}
		for _, name := range strings.Fields(match[1]) {
			kept := withoutRule(found, name, comment.Location.Row)
			if len(kept) == len(found) {
				l.report(ignoreRule, comment.Location, "nothing here is found by the rule "+name)
			}
			found = kept
		}
	}
	found = append(found, l.found...)
	sort.SliceStable(found, func(i, j int) bool {
		a, b := found[i], found[j]
		return a.Row < b.Row || (a.Row == b.Row && a.Column < b.Column)
	})
	return found
}

func withoutRule(found []lintFinding, name string, row int) []lintFinding {
	kept := make([]lintFinding, 0, len(found))
	for _, finding := range found {
		if finding.Code != name || (finding.Row != row && finding.Row != row+1) {
			kept = append(kept, finding)
		}
	}
	return kept
}
