//go:build js && wasm

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

type bundleReadRequest struct {
	// Bundle is a bundle.tar.gz.
	Bundle []byte `json:"bundle"`
	// Verification makes a signature necessary; without it a signature is not looked at.
	Verification *verification `json:"verification,omitempty"`
	// SizeLimit is the largest size of one file once unpacked, in bytes; absent for OPA's own limit (1 GiB).
	SizeLimit int64 `json:"sizeLimit,omitempty"`
}

type verification struct {
	// Keys maps key ids to public keys; a key is PEM text, or the secret itself for HS*.
	Keys map[string]struct {
		Key       string `json:"key"`
		Algorithm string `json:"algorithm"`
		Scope     string `json:"scope,omitempty"`
	} `json:"keys"`
	KeyID   string   `json:"keyId,omitempty"`
	Scope   string   `json:"scope,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

type bundleContent struct {
	// Type is "snapshot" or "delta".
	Type     string          `json:"type"`
	Manifest bundle.Manifest `json:"manifest"`
	Modules  []module        `json:"modules"`
	// DataText is the base document as JSON text, in which numbers are spelled as in the bundle.
	DataText string           `json:"dataText"`
	Wasm     []bundleWasm     `json:"wasm"`
	Patch    []map[string]any `json:"patch,omitempty"`
	// Signatures are the JWS texts of .signatures.json, verified or not.
	Signatures []string `json:"signatures"`
}

type bundleWasm struct {
	Path string `json:"path"`
	Wasm []byte `json:"wasm"`
}

type bundleReadAnswer struct {
	Bundle *bundleContent `json:"bundle,omitempty"`
	// Refusal is OPA's reason for not accepting the bundle.
	Refusal string `json:"refusal,omitempty"`
}

// bundleRead reads a bundle with OPA's own reader and verifier.
func bundleRead(request *bundleReadRequest) (*bundleReadAnswer, error) {
	reader := bundle.NewReader(bytes.NewReader(request.Bundle)).WithRegoVersion(ast.RegoV1)
	if request.SizeLimit > 0 {
		reader = reader.WithSizeLimitBytes(request.SizeLimit)
	}
	reader, err := withVerification(reader, request.Verification)
	if err != nil {
		return nil, err
	}
	b, err := reader.Read()
	if err != nil {
		return &bundleReadAnswer{Refusal: err.Error()}, nil
	}
	content, err := contentOf(&b)
	return &bundleReadAnswer{Bundle: content}, err
}

// withVerification makes a signature necessary, or says that none is looked at.
func withVerification(reader *bundle.Reader, v *verification) (*bundle.Reader, error) {
	if v == nil {
		return reader.WithSkipBundleVerification(true), nil
	}
	keys := map[string]*bundle.KeyConfig{}
	for id, k := range v.Keys {
		keys[id] = &bundle.KeyConfig{Key: k.Key, Algorithm: k.Algorithm, Scope: k.Scope}
	}
	config := bundle.NewVerificationConfig(keys, v.KeyID, v.Scope, v.Exclude)
	if err := config.ValidateAndInjectDefaults(keys); err != nil {
		return nil, badRequest("verification: %v", err)
	}
	return reader.WithBundleVerificationConfig(config), nil
}

func contentOf(b *bundle.Bundle) (*bundleContent, error) {
	data := []byte("{}")
	if b.Data != nil {
		text, err := json.Marshal(b.Data)
		if err != nil {
			return nil, err
		}
		data = text
	}
	content := &bundleContent{
		Type: b.Type(), Manifest: b.Manifest, Modules: []module{}, DataText: string(data), Wasm: []bundleWasm{},
		Signatures: append([]string{}, b.Signatures.Signatures...),
	}
	for _, m := range b.Modules {
		content.Modules = append(content.Modules, module{Path: m.Path, Text: string(m.Raw)})
	}
	for _, m := range b.WasmModules {
		content.Wasm = append(content.Wasm, bundleWasm{Path: m.Path, Wasm: m.Raw})
	}
	for _, op := range b.Patch.Data {
		content.Patch = append(content.Patch, map[string]any{"op": op.Op, "path": op.Path, "value": op.Value})
	}
	sort.Slice(content.Modules, func(i, j int) bool { return content.Modules[i].Path < content.Modules[j].Path })
	return content, nil
}

type bundleWriteRequest struct {
	policy
	Revision string         `json:"revision,omitempty"`
	Roots    []string       `json:"roots,omitempty"`
	Metadata map[string]any `json:"metadata,omitempty"`
	// Wasm is a compiled policy, with the entrypoints it has.
	Wasm        []byte   `json:"wasm,omitempty"`
	Entrypoints []string `json:"entrypoints,omitempty"`
	Signing     *signing `json:"signing,omitempty"`
}

type signing struct {
	// Key is the private key as PEM text, or the secret itself for HS*.
	Key       string `json:"key"`
	Algorithm string `json:"algorithm"`
	KeyID     string `json:"keyId,omitempty"`
	// Scope is put into the signature for verifiers that ask for one.
	Scope string `json:"scope,omitempty"`
}

type bundleWriteAnswer struct {
	Bundle      []byte       `json:"bundle,omitempty"`
	Diagnostics []diagnostic `json:"diagnostics,omitempty"`
}

// bundleWrite writes a bundle with OPA's own writer, signed when a key is given. Modules keep their text.
func bundleWrite(request *bundleWriteRequest) (*bundleWriteAnswer, error) {
	p, found, err := request.parse()
	if err != nil || len(found) > 0 {
		return &bundleWriteAnswer{Diagnostics: found}, err
	}
	b := bundle.Bundle{Data: p.data}
	b.Manifest.Revision = request.Revision
	b.Manifest.Metadata = request.Metadata
	if request.Roots != nil {
		b.Manifest.Roots = &request.Roots
	}
	b.Manifest.Init()
	b.SetRegoVersion(p.version)
	for _, m := range request.Modules {
		path := util.WithPrefix(m.Path, "/")
		b.Modules = append(b.Modules, bundle.ModuleFile{URL: path, Path: path, Raw: []byte(m.Text), Parsed: p.modules[m.Path]})
	}
	if len(request.Wasm) > 0 {
		path := "/" + bundle.WasmFile
		b.WasmModules = []bundle.WasmModuleFile{{URL: path, Path: path, Raw: request.Wasm}}
		for _, entrypoint := range request.Entrypoints {
			b.Manifest.WasmResolvers = append(b.Manifest.WasmResolvers, bundle.WasmResolver{Entrypoint: entrypoint, Module: path})
		}
	}
	if s := request.Signing; s != nil {
		if err := bundle.RegisterSigner(scopedSignerID, &scopedSigner{scope: s.Scope}); err != nil {
			return nil, err
		}
		config := bundle.NewSigningConfig(s.Key, s.Algorithm, "").WithPlugin(scopedSignerID)
		if err := b.GenerateSignature(config, s.KeyID, false); err != nil {
			return nil, badRequest("signing: %v", err)
		}
		// Verifiers know OPA's default plugin only, and the signature is what that one makes.
		b.Signatures.Plugin = ""
	}
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).DisableFormat(true).Write(b); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	return &bundleWriteAnswer{Bundle: out.Bytes()}, nil
}

const scopedSignerID = "sallyport"

// scopedSigner is OPA's default signer with a scope: OPA itself takes further claims from a file only.
type scopedSigner struct {
	scope string
}

func (s *scopedSigner) GenerateSignedToken(files []bundle.FileInfo, config *bundle.SigningConfig, keyID string) (string, error) {
	builder := jwt.NewBuilder().Claim("files", files)
	if keyID != "" {
		builder = builder.Claim("keyid", keyID)
	}
	if s.scope != "" {
		builder = builder.Claim("scope", s.scope)
	}
	token, err := builder.Build()
	if err != nil {
		return "", err
	}
	private, err := s.key(config)
	if err != nil {
		return "", err
	}
	algorithm, ok := jwa.LookupSignatureAlgorithm(config.Algorithm)
	if !ok {
		return "", fmt.Errorf("unknown signature algorithm: %s", config.Algorithm)
	}
	key, err := jwk.Import(private)
	if err != nil {
		return "", err
	}
	if keyID != "" {
		if err := key.Set(jwk.KeyIDKey, keyID); err != nil {
			return "", err
		}
	}
	signed, err := jwt.Sign(token, jwt.WithKey(algorithm, key))
	return string(signed), err
}

// key is the private key. OPA would look for a file of the secret's name first.
func (s *scopedSigner) key(config *bundle.SigningConfig) (any, error) {
	if strings.HasPrefix(config.Algorithm, "HS") {
		return []byte(config.Key), nil
	}
	return config.GetPrivateKey()
}
