//go:build js && wasm

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"sort"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// module is one Rego file: its name, as diagnostics show it, and its text.
type module struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// policy is what most operations work on. Data is the base document under `data`; Capabilities is a
// capabilities file in OPA's own format, absent for all that this OPA knows.
type policy struct {
	Modules      []module        `json:"modules"`
	Data         json.RawMessage `json:"data,omitempty"`
	Capabilities json.RawMessage `json:"capabilities,omitempty"`
	RegoVersion  int             `json:"regoVersion,omitempty"`
}

// diagnostic is one finding. Row and column count from 1 and are 0 where the finding has no place.
type diagnostic struct {
	File    string   `json:"file"`
	Row     int      `json:"row"`
	Column  int      `json:"column"`
	Length  int      `json:"length"`
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Text    string   `json:"text,omitempty"`
	Details []string `json:"details,omitempty"`
}

// parsed is a policy whose modules were read.
type parsed struct {
	source       *policy
	modules      map[string]*ast.Module
	names        []string
	data         map[string]any
	capabilities *ast.Capabilities
	version      ast.RegoVersion
}

// capabilitiesCache keeps the last capabilities file read: hosts send the same one with every call.
var capabilitiesCache struct {
	text  []byte
	value *ast.Capabilities
}

func readCapabilities(text []byte) (*ast.Capabilities, error) {
	if len(text) == 0 {
		return ast.CapabilitiesForThisVersion(), nil
	}
	if !bytes.Equal(text, capabilitiesCache.text) {
		value, err := ast.LoadCapabilitiesJSON(bytes.NewReader(text))
		if err != nil {
			return nil, badRequest("capabilities: %v", err)
		}
		capabilitiesCache.text, capabilitiesCache.value = text, value
	}
	return capabilitiesCache.value, nil
}

func (p *policy) version() (ast.RegoVersion, error) {
	switch p.RegoVersion {
	case 0, 1:
		return ast.RegoV1, nil
	case -1:
		return ast.RegoV0, nil
	}
	return ast.RegoUndefined, badRequest("regoVersion: want 1, or -1 for the old v0 syntax, got %d", p.RegoVersion)
}

// readData decodes the base document; numbers keep the spelling they have in the text.
func (p *policy) readData() (map[string]any, error) {
	data := map[string]any{}
	if len(p.Data) == 0 || string(p.Data) == "null" {
		return data, nil
	}
	if err := util.UnmarshalJSON(p.Data, &data); err != nil {
		return nil, badRequest("data: want a JSON object: %v", err)
	}
	return data, nil
}

// parse reads all modules and reports everything that is wrong with their syntax.
func (p *policy) parse() (*parsed, []diagnostic, error) {
	version, err := p.version()
	if err != nil {
		return nil, nil, err
	}
	capabilities, err := readCapabilities(p.Capabilities)
	if err != nil {
		return nil, nil, err
	}
	data, err := p.readData()
	if err != nil {
		return nil, nil, err
	}
	result := &parsed{source: p, modules: map[string]*ast.Module{}, data: data, capabilities: capabilities, version: version}
	options := ast.ParserOptions{RegoVersion: version, ProcessAnnotation: true, Capabilities: capabilities}
	var found []diagnostic
	for _, m := range p.Modules {
		if _, twice := result.modules[m.Path]; twice {
			return nil, nil, badRequest("two modules are named %q", m.Path)
		}
		value, err := ast.ParseModuleWithOpts(m.Path, m.Text, options)
		if err != nil {
			found = append(found, p.diagnose(m.Path, err)...)
			continue
		}
		result.modules[m.Path] = value
		result.names = append(result.names, m.Path)
	}
	sort.Strings(result.names)
	return result, found, nil
}

// compiler is OPA's compiler with the settings that every operation shares.
func (p *parsed) compiler() *ast.Compiler {
	return ast.NewCompiler().
		WithCapabilities(p.capabilities).
		WithDefaultRegoVersion(p.version).
		WithPathConflictsCheck(p.hasData).
		SetErrorLimit(0)
}

// hasData tells whether the base document has something at a path that a rule wants to define.
func (p *parsed) hasData(path []string) (bool, error) {
	var node any = p.data
	for _, key := range path {
		object, ok := node.(map[string]any)
		if !ok {
			return false, nil
		}
		if node, ok = object[key]; !ok {
			return false, nil
		}
	}
	return true, nil
}

// diagnose turns whatever OPA returns as an error into diagnostics; file is used where OPA names none.
func (p *policy) diagnose(file string, err error) []diagnostic {
	var many ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &many):
	case errors.As(err, &one):
		many = ast.Errors{one}
	default:
		return []diagnostic{{File: file, Code: "rego_error", Message: err.Error()}}
	}
	found := make([]diagnostic, 0, len(many))
	for _, e := range many {
		d := diagnostic{File: file, Code: e.Code, Message: e.Message}
		if e.Location != nil && e.Location.Row > 0 {
			d.Row, d.Column = e.Location.Row, e.Location.Col
			if e.Location.File != "" {
				d.File = e.Location.File
			}
			first, _, _ := strings.Cut(string(e.Location.Text), "\n")
			d.Length = len([]rune(first))
			d.Text = p.line(d.File, d.Row)
		}
		// Of a syntax error, the details are the line and a caret, which Text and Column say already.
		if e.Details != nil && e.Code != ast.ParseErr {
			d.Details = e.Details.Lines()
		}
		found = append(found, d)
	}
	return sortDiagnostics(found)
}

// line is the text of one line of one module, without its line break.
func (p *policy) line(file string, row int) string {
	for _, m := range p.Modules {
		if m.Path != file {
			continue
		}
		lines := strings.SplitN(m.Text, "\n", row+1)
		if row <= len(lines) {
			return strings.TrimSuffix(lines[row-1], "\r")
		}
	}
	return ""
}

// sortDiagnostics puts findings into reading order and drops exact duplicates.
func sortDiagnostics(found []diagnostic) []diagnostic {
	sort.SliceStable(found, func(i, j int) bool {
		a, b := found[i], found[j]
		switch {
		case a.File != b.File:
			return a.File < b.File
		case a.Row != b.Row:
			return a.Row < b.Row
		case a.Column != b.Column:
			return a.Column < b.Column
		}
		return a.Message < b.Message
	})
	kept := found[:0]
	for i, d := range found {
		if i > 0 {
			last := kept[len(kept)-1]
			if d.File == last.File && d.Row == last.Row && d.Column == last.Column && d.Message == last.Message {
				continue
			}
		}
		kept = append(kept, d)
	}
	return kept
}
