//go:build js && wasm

package main

import (
	"encoding/json"
	"slices"
	"sort"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/dependencies"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/util"
)

type checkRequest struct {
	policy
	// InputSchema is the JSON Schema of `input`: with it, a misspelt input field is an error.
	InputSchema json.RawMessage `json:"inputSchema,omitempty"`
	// Lenient switches OPA's strict mode off: unused variables and imports, deprecated built-ins and so on.
	Lenient bool `json:"lenient,omitempty"`
}

type checkAnswer struct {
	Diagnostics []diagnostic `json:"diagnostics"`
}

// check compiles without building anything and reports everything that is wrong.
func check(request *checkRequest) (*checkAnswer, error) {
	p, found, err := request.parse()
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return &checkAnswer{Diagnostics: found}, nil
	}
	compile := func(schema any) ast.Errors {
		compiler := p.compiler().WithStrict(!request.Lenient).WithEnablePrintStatements(true)
		if schema != nil {
			schemas := ast.NewSchemaSet()
			schemas.Put(ast.SchemaRootRef, schema)
			compiler = compiler.WithSchemas(schemas).WithUseTypeCheckAnnotations(true)
		}
		compiler.Compile(p.modules)
		return compiler.Errors
	}
	if len(request.InputSchema) == 0 {
		return &checkAnswer{Diagnostics: request.diagnose("", compile(nil))}, nil
	}
	var schemas [2]any
	for i, nullable := range []func(map[string]any) any{asAny, withoutNull} {
		var schema any
		if err := util.UnmarshalJSON(request.InputSchema, &schema); err != nil {
			return nil, badRequest("inputSchema: %v", err)
		}
		schemas[i] = mapNullable(schema, nullable)
	}
	errs := compile(schemas[0])
	for _, e := range errs {
		if e.Location == nil && strings.HasPrefix(e.Message, "unable to compile the schema") {
			return nil, badRequest("inputSchema: %s", e.Message)
		}
	}
	for _, e := range compile(schemas[1]) {
		if !mentionsNull(e) {
			errs = append(errs, e)
		}
	}
	return &checkAnswer{Diagnostics: request.diagnose("", errs)}, nil
}

// OPA's type checker knows no null: a schema that allows it stands for any value, in which no misspelt field is found,
// or for a value that is never null, which makes comparing with null an error. So a policy is checked twice, with what
// can be null as any value, and as never null; what the second one finds about null is left out.

// asAny forgets everything about what can be null.
func asAny(map[string]any) any {
	return map[string]any{}
}

// withoutNull forgets that it can be null.
func withoutNull(schema map[string]any) any {
	if types, ok := schema["type"].([]any); ok {
		types = slices.DeleteFunc(types, func(t any) bool { return t == "null" })
		schema["type"] = types
		if len(types) == 1 {
			schema["type"] = types[0]
		}
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		alternatives, ok := schema[key].([]any)
		if !ok {
			continue
		}
		alternatives = slices.DeleteFunc(alternatives, isNullSchema)
		if len(alternatives) == 1 {
			return alternatives[0]
		}
		schema[key] = alternatives
	}
	return schema
}

func isNullSchema(schema any) bool {
	object, ok := schema.(map[string]any)
	return ok && object["type"] == "null"
}

// mapNullable applies change to every schema, at any depth, that allows null beside something else.
func mapNullable(schema any, change func(map[string]any) any) any {
	switch node := schema.(type) {
	case []any:
		for i := range node {
			node[i] = mapNullable(node[i], change)
		}
	case map[string]any:
		for key := range node {
			node[key] = mapNullable(node[key], change)
		}
		types, _ := node["type"].([]any)
		anyOf, _ := node["anyOf"].([]any)
		oneOf, _ := node["oneOf"].([]any)
		if slices.Contains(types, any("null")) || slices.ContainsFunc(anyOf, isNullSchema) || slices.ContainsFunc(oneOf, isNullSchema) {
			return change(node)
		}
	}
	return schema
}

func mentionsNull(e *ast.Error) bool {
	if e.Details != nil && strings.Contains(strings.Join(e.Details.Lines(), " "), "null") {
		return true
	}
	return strings.Contains(e.Message, "null")
}

type formattedModule struct {
	Path        string       `json:"path"`
	Text        string       `json:"text"`
	Changed     bool         `json:"changed"`
	Diagnostics []diagnostic `json:"diagnostics,omitempty"`
}

// formatModules lays out each module as OPA does; one that cannot be parsed is returned as it was, with the reason.
func formatModules(request *policy) ([]formattedModule, error) {
	version, err := request.version()
	if err != nil {
		return nil, err
	}
	capabilities, err := readCapabilities(request.Capabilities)
	if err != nil {
		return nil, err
	}
	options := format.Opts{
		RegoVersion:   version,
		ParserOptions: &ast.ParserOptions{RegoVersion: version, Capabilities: capabilities},
		Capabilities:  capabilities,
	}
	result := make([]formattedModule, 0, len(request.Modules))
	for _, m := range request.Modules {
		text, err := format.SourceWithOpts(m.Path, []byte(m.Text), options)
		if err != nil {
			result = append(result, formattedModule{Path: m.Path, Text: m.Text, Diagnostics: request.diagnose(m.Path, err)})
			continue
		}
		result = append(result, formattedModule{Path: m.Path, Text: string(text), Changed: string(text) != m.Text})
	}
	return result, nil
}

type inspectAnswer struct {
	Modules     []inspectedModule      `json:"modules"`
	Annotations []inspectedAnnotations `json:"annotations"`
	// Builtins are the names of all built-in functions that the modules call.
	Builtins    []string     `json:"builtins"`
	Diagnostics []diagnostic `json:"diagnostics,omitempty"`
}

type inspectedModule struct {
	Path    string          `json:"path"`
	Package string          `json:"package"`
	Imports []string        `json:"imports"`
	Rules   []inspectedRule `json:"rules"`
}

type inspectedRule struct {
	Name     string `json:"name"`
	Path     string `json:"path"`
	Row      int    `json:"row"`
	Column   int    `json:"column"`
	Default  bool   `json:"default,omitempty"`
	Function bool   `json:"function,omitempty"`
}

type inspectedAnnotations struct {
	// Path is the full name of what is annotated.
	Path        string           `json:"path"`
	File        string           `json:"file"`
	Row         int              `json:"row"`
	Annotations *ast.Annotations `json:"annotations"`
}

// inspect lists what is in a policy: packages, rules, annotations and the built-in functions it needs.
func inspect(request *policy) (*inspectAnswer, error) {
	p, found, err := request.parse()
	if err != nil {
		return nil, err
	}
	result := &inspectAnswer{
		Modules: []inspectedModule{}, Annotations: []inspectedAnnotations{}, Builtins: []string{}, Diagnostics: found,
	}
	list := make([]*ast.Module, 0, len(p.names))
	for _, name := range p.names {
		m := p.modules[name]
		list = append(list, m)
		described := inspectedModule{Path: name, Package: m.Package.Path.String(), Imports: []string{}, Rules: []inspectedRule{}}
		for _, imported := range m.Imports {
			described.Imports = append(described.Imports, strings.TrimPrefix(imported.String(), "import "))
		}
		for _, rule := range m.Rules {
			described.Rules = append(described.Rules, inspectedRule{
				Name: rule.Head.Ref().String(), Path: rulePath(rule), Row: rule.Location.Row, Column: rule.Location.Col,
				Default: rule.Default, Function: len(rule.Head.Args) > 0,
			})
		}
		result.Modules = append(result.Modules, described)
	}
	annotations, errs := ast.BuildAnnotationSet(list)
	result.Diagnostics = append(result.Diagnostics, request.diagnose("", errs)...)
	if annotations != nil {
		for _, a := range annotations.Flatten() {
			described := inspectedAnnotations{Path: a.Path.String(), Annotations: a.Annotations}
			if a.Annotations.Location != nil {
				described.File, described.Row = a.Annotations.Location.File, a.Annotations.Location.Row
			}
			result.Annotations = append(result.Annotations, described)
		}
	}
	compiler := p.compiler()
	compiler.Compile(p.modules)
	result.Diagnostics = append(result.Diagnostics, request.diagnose("", compiler.Errors)...)
	for _, builtin := range compiler.Required.Builtins {
		result.Builtins = append(result.Builtins, builtin.Name)
	}
	sort.Strings(result.Builtins)
	return result, nil
}

// rulePath is the full reference of what a rule defines, without the parts that only evaluation knows.
func rulePath(rule *ast.Rule) string {
	return rule.Module.Package.Path.Extend(rule.Head.Ref().GroundPrefix()).String()
}

type depsRequest struct {
	policy
	// Query is what is asked about, such as "data.sallyport.decision".
	Query string `json:"query"`
}

type depsAnswer struct {
	// Input and Data are paths, one list of keys each; a path stands for everything below it too.
	Input [][]any `json:"input"`
	Data  [][]any `json:"data"`
	// Rules are the full names of all rules that the query can reach.
	Rules       []string     `json:"rules"`
	Diagnostics []diagnostic `json:"diagnostics,omitempty"`
}

// deps tells which paths of input and of the base document a query reads. A path ends where the policy looks further
// with something only known at evaluation, or hands the value to a function.
func deps(request *depsRequest) (*depsAnswer, error) {
	p, found, err := request.parse()
	if err != nil || len(found) > 0 {
		return &depsAnswer{Diagnostics: found}, err
	}
	compiler := p.compiler()
	compiler.Compile(p.modules)
	if compiler.Failed() {
		return &depsAnswer{Diagnostics: request.diagnose("", compiler.Errors)}, nil
	}
	query, err := ast.ParseBodyWithOpts(request.Query, ast.ParserOptions{RegoVersion: p.version})
	if err != nil {
		return nil, badRequest("query: %v", err)
	}
	compiled, err := compiler.QueryCompiler().Compile(query)
	if err != nil {
		return nil, badRequest("query: %v", err)
	}
	base, err := dependencies.Base(compiler, compiled)
	if err != nil {
		return nil, err
	}
	virtual, err := dependencies.Virtual(compiler, compiled)
	if err != nil {
		return nil, err
	}
	result := &depsAnswer{Input: [][]any{}, Data: [][]any{}, Rules: []string{}}
	for _, ref := range base {
		path := make([]any, 0, len(ref))
		for _, term := range ref[1:] {
			key, err := ast.JSON(term.Value)
			if err != nil {
				return nil, err
			}
			path = append(path, key)
		}
		switch {
		case ref[0].Equal(ast.InputRootDocument):
			result.Input = append(result.Input, path)
		case ref[0].Equal(ast.DefaultRootDocument):
			result.Data = append(result.Data, path)
		}
	}
	for _, ref := range virtual {
		result.Rules = append(result.Rules, ref.String())
	}
	sortPaths(result.Input)
	sortPaths(result.Data)
	sort.Strings(result.Rules)
	return result, nil
}

func sortPaths(paths [][]any) {
	text := func(path []any) string {
		bytes, _ := json.Marshal(path)
		return string(bytes)
	}
	sort.Slice(paths, func(i, j int) bool { return text(paths[i]) < text(paths[j]) })
}
