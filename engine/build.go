//go:build js && wasm

package main

import (
	"context"
	"errors"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"
)

type buildRequest struct {
	policy
	// Entrypoints are slash paths such as "sallyport/decision"; rules annotated `entrypoint: true` are added.
	Entrypoints []string `json:"entrypoints,omitempty"`
	// Warnings asks for what OPA's strict mode would refuse, at the price of one more compile.
	Warnings bool `json:"warnings,omitempty"`
}

type buildAnswer struct {
	// Wasm is absent when there are diagnostics.
	Wasm        []byte       `json:"wasm,omitempty"`
	Entrypoints []string     `json:"entrypoints,omitempty"`
	Diagnostics []diagnostic `json:"diagnostics,omitempty"`
	Warnings    []diagnostic `json:"warnings,omitempty"`
}

// build compiles modules to a WASM policy: optimisation 0, because partial evaluation changes what explanations
// show and was never measured to help. The base document is not part of the module; the host sets it.
func build(request *buildRequest) (*buildAnswer, error) {
	p, found, err := request.parse()
	if err != nil || len(found) > 0 {
		return &buildAnswer{Diagnostics: found}, err
	}
	// OPA's build stops at ten errors and does not look for rules that hide data; this compile does neither.
	compiler := p.compiler()
	compiler.Compile(p.modules)
	if compiler.Failed() {
		return &buildAnswer{Diagnostics: request.diagnose("", compiler.Errors)}, nil
	}
	var warnings []diagnostic
	if request.Warnings {
		// Before the build, which changes the modules that it is given.
		strict := p.compiler().WithStrict(true)
		strict.Compile(p.modules)
		warnings = request.diagnose("", strict.Errors)
	}
	source := &bundle.Bundle{Data: p.data}
	source.Manifest.Init()
	source.SetRegoVersion(p.version)
	for _, name := range p.names {
		source.Modules = append(source.Modules, bundle.ModuleFile{URL: name, Path: name, Parsed: p.modules[name]})
	}
	build := compile.New().
		WithTarget(compile.TargetWasm).
		WithOptimizationLevel(0).
		WithCapabilities(p.capabilities).
		WithRegoVersion(p.version).
		WithRegoAnnotationEntrypoints(true).
		WithEntrypoints(request.Entrypoints...).
		WithBundle(source)
	if err := build.Build(context.Background()); err != nil {
		var compileErrors ast.Errors
		if errors.As(err, &compileErrors) {
			return &buildAnswer{Diagnostics: request.diagnose("", compileErrors)}, nil
		}
		return &buildAnswer{Diagnostics: []diagnostic{{Code: "rego_build_error", Message: err.Error()}}}, nil
	}
	result := &buildAnswer{Wasm: build.Bundle().WasmModules[0].Raw, Warnings: warnings}
	for _, resolver := range build.Bundle().Manifest.WasmResolvers {
		result.Entrypoints = append(result.Entrypoints, resolver.Entrypoint)
	}
	return result, nil
}
