//go:build js && wasm

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/loader/filter"
)

type bundleOpenRequest struct {
	// Bundle is a bundle.tar.gz.
	Bundle []byte `json:"bundle"`
	// Verification makes a signature necessary, and delta bundles impossible, since those cannot be signed.
	Verification *verification `json:"verification,omitempty"`
	// UnpackedLimit is the largest size of the whole archive once unpacked, in bytes.
	UnpackedLimit int64 `json:"unpackedLimit"`
	// EntryLimit is the largest number of entries.
	EntryLimit int `json:"entryLimit"`
}

type bundleOpenAnswer struct {
	Bundle *openedBundle `json:"bundle,omitempty"`
	// Refusal says why the bundle is not accepted, Code what kind of reason it is: "archive", "signature" or "content".
	Refusal string `json:"refusal,omitempty"`
	Code    string `json:"code,omitempty"`
}

// openedBundle is the content with the changes of a delta bundle as JSON text, in which numbers are spelled as in the bundle.
type openedBundle struct {
	*bundleContent
	PatchText string `json:"patchText,omitempty"`
}

// refusal is an error of the bundle itself, with its kind.
type refusal struct {
	code, message string
}

func (r *refusal) Error() string { return r.message }

func refuse(code, format string, args ...any) error {
	return &refusal{code: code, message: fmt.Sprintf(format, args...)}
}

const (
	signaturesName = ".signatures.json"
	nameLimit      = 1024
)

// bundleOpen reads a bundle the way a gateway must: the archive in one unambiguous reading, then OPA's own reader and verifier over
// exactly the entries found, then what OPA lets pass (github.com/open-policy-agent/opa, GHSA-g2pf-6v5v-qcc8 is an example).
func bundleOpen(request *bundleOpenRequest) (*bundleOpenAnswer, error) {
	opened, err := openBundle(request)
	var refused *refusal
	if errors.As(err, &refused) {
		return &bundleOpenAnswer{Refusal: refused.message, Code: refused.code}, nil
	}
	if err != nil {
		return nil, err
	}
	return &bundleOpenAnswer{Bundle: opened}, nil
}

func openBundle(request *bundleOpenRequest) (*openedBundle, error) {
	entries, err := readArchive(request)
	if err != nil {
		return nil, err
	}
	if request.Verification != nil {
		if err := checkSignatureForm(entries, request.Verification); err != nil {
			return nil, err
		}
	}
	reader := bundle.NewCustomReader(&entryLoader{entries: entries}).
		WithRegoVersion(ast.RegoV1).
		WithSizeLimitBytes(request.UnpackedLimit + 1)
	reader, err = withVerification(reader, request.Verification)
	if err != nil {
		return nil, err
	}
	b, err := reader.Read()
	if err != nil {
		return nil, refuse(kindOf(request.Verification, err), "%v", err)
	}
	content, err := contentOf(&b)
	if err != nil {
		return nil, err
	}
	opened := &openedBundle{bundleContent: content}
	if content.Type == bundle.DeltaBundleType {
		text, err := json.Marshal(content.Patch)
		if err != nil {
			return nil, err
		}
		opened.PatchText = string(text)
	}
	return opened, nil
}

// kindOf tells whether OPA found fault with the signature or with what is in the bundle; OPA's errors have no codes.
func kindOf(v *verification, err error) string {
	if v == nil {
		return "content"
	}
	for _, word := range []string{"signature", "digest mismatch", "scope mismatch", "verification key", "hashing algorithm", "JWT"} {
		if strings.Contains(err.Error(), word) {
			return "signature"
		}
	}
	return "content"
}

// entry is one regular file of the archive.
type entry struct {
	// name is the name as it stands in the archive; OPA's own writer begins it with a slash.
	name string
	// canonical is the name without that slash.
	canonical string
	content   []byte
}

// readArchive unpacks one gzip member that holds one tar archive and nothing else.
func readArchive(request *bundleOpenRequest) ([]entry, error) {
	packed := bytes.NewReader(request.Bundle)
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		return nil, refuse("archive", "it is not a gzip file: %v", err)
	}
	// What follows the first member would be another archive to some readers and nothing to others.
	unpacked.Multistream(false)
	content, err := io.ReadAll(io.LimitReader(unpacked, request.UnpackedLimit+1))
	if err != nil {
		return nil, refuse("archive", "it cannot be unpacked: %v", err)
	}
	if int64(len(content)) > request.UnpackedLimit {
		return nil, refuse("archive", "it unpacks to more than %d bytes", request.UnpackedLimit)
	}
	if packed.Len() > 0 {
		return nil, refuse("archive", "%d bytes follow the end of the gzip data", packed.Len())
	}
	return readTar(content, request.EntryLimit)
}

const tarBlock = 512

func readTar(content []byte, limit int) ([]entry, error) {
	source := bytes.NewReader(content)
	archive := tar.NewReader(source)
	names := &nameSet{files: map[string]string{}, folders: map[string]string{}}
	var entries []entry
	for count := 0; ; count++ {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, refuse("archive", "it is not a whole tar archive: %v", err)
		}
		if count >= limit {
			return nil, refuse("archive", "it has more than %d entries", limit)
		}
		canonical, err := checkHeader(header)
		if err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeDir {
			if err := names.addFolder(canonical); err != nil {
				return nil, err
			}
			continue
		}
		if err := names.addFile(canonical); err != nil {
			return nil, err
		}
		file, err := io.ReadAll(archive)
		if err != nil {
			return nil, refuse("archive", "the file %q is cut off: %v", canonical, err)
		}
		entries = append(entries, entry{name: header.Name, canonical: canonical, content: file})
	}
	return entries, checkEnd(content, len(content)-source.Len())
}

// checkEnd sees to the two empty blocks that end an archive, and that nothing but padding follows them.
func checkEnd(content []byte, end int) error {
	empty := func(part []byte) bool { return len(bytes.Trim(part, "\x00")) == 0 }
	if end < 2*tarBlock || !empty(content[end-2*tarBlock:end]) {
		return refuse("archive", "the end of the tar archive is missing")
	}
	if !empty(content[end:]) {
		return refuse("archive", "something follows the end of the tar archive")
	}
	return nil
}

// checkHeader allows regular files and folders with names that can be read in one way only.
func checkHeader(header *tar.Header) (string, error) {
	shown := header.Name
	if len(shown) > 200 {
		shown = shown[:200]
	}
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeSymlink, tar.TypeLink:
		return "", refuse("archive", "%q is a link", shown)
	default:
		return "", refuse("archive", "%q is neither a file nor a folder (type %q)", shown, header.Typeflag)
	}
	for key := range header.PAXRecords {
		if !harmlessRecord(key) {
			return "", refuse("archive", "%q has the extended header %q", shown, key)
		}
	}
	canonical, relative := strings.CutPrefix(header.Name, "./")
	if !relative {
		canonical = strings.TrimPrefix(header.Name, "/")
	}
	if header.Typeflag == tar.TypeDir {
		canonical = strings.TrimSuffix(canonical, "/")
		if canonical == "" || canonical == "." {
			return "", nil
		}
	}
	if problem := problemOfName(canonical); problem != "" {
		return "", refuse("archive", "the name %q %s", shown, problem)
	}
	return canonical, nil
}

// harmlessRecord tells whether an extended header leaves the content of an entry alone.
func harmlessRecord(key string) bool {
	switch key {
	case "path", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment":
		return true
	}
	return strings.HasPrefix(key, "SCHILY.") || strings.HasPrefix(key, "LIBARCHIVE.")
}

func problemOfName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > nameLimit:
		return fmt.Sprintf("has more than %d bytes", nameLimit)
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == '\\' || r == utf8.RuneError }):
		return "has a control character or a backslash"
	case strings.HasPrefix(name, "/"):
		return "is absolute"
	case slices.Contains(strings.Split(name, "/"), ".."):
		return "leads out of the bundle"
	case path.Clean(name) != name:
		return "is not in its shortest form"
	}
	base := path.Base(name)
	folded := strings.ToLower(base)
	switch {
	case strings.HasSuffix(folded, "signatures.json") && name != signaturesName:
		return "looks like a signature and is not exactly " + signaturesName
	case (strings.HasSuffix(folded, ".manifest") && name != ".manifest") || (strings.HasSuffix(folded, ".manifest.pb") && name != ".manifest.pb"):
		return "looks like a manifest and is not exactly .manifest"
	case folded == "patch.json" && name != "patch.json":
		return "looks like a patch and is not exactly patch.json"
	}
	return ""
}

// nameSet knows the names of an archive, each also without case: what is one file to some systems must not be two here.
type nameSet struct {
	files, folders map[string]string
}

func (s *nameSet) addFile(name string) error {
	folded := strings.ToLower(name)
	if other, twice := s.files[folded]; twice {
		if other == name {
			return refuse("archive", "the file %q is in it twice", name)
		}
		return refuse("archive", "the names %q and %q differ in case only", other, name)
	}
	if _, folder := s.folders[folded]; folder {
		return refuse("archive", "%q is a file and a folder", name)
	}
	s.files[folded] = name
	return s.addFolder(path.Dir(name))
}

func (s *nameSet) addFolder(name string) error {
	for ; name != "." && name != ""; name = path.Dir(name) {
		folded := strings.ToLower(name)
		if _, file := s.files[folded]; file {
			return refuse("archive", "%q is a file and a folder", name)
		}
		if other, known := s.folders[folded]; known && other != name {
			return refuse("archive", "the names %q and %q differ in case only", other, name)
		}
		s.folders[folded] = name
	}
	return nil
}

// hashAlgorithms are those of OPA that still keep somebody from making two files with one hash.
var hashAlgorithms = []string{"SHA-256", "SHA-384", "SHA-512", "SHA-512-256"}

// checkSignatureForm looks at what OPA's verifier does not: that there is exactly one signature in exactly one place, made with the
// algorithm of the key, over exactly the files of the bundle, each once, with hashes that are worth something.
func checkSignatureForm(entries []entry, v *verification) error {
	var config struct {
		Signatures []string `json:"signatures"`
		Plugin     string   `json:"plugin"`
	}
	at := slices.IndexFunc(entries, func(e entry) bool { return e.canonical == signaturesName })
	if at < 0 {
		return refuse("signature", "it is not signed: it has no %s", signaturesName)
	}
	if err := decodeStrictly(entries[at].content, &config); err != nil {
		return refuse("signature", "%s is malformed: %v", signaturesName, err)
	}
	if len(config.Signatures) != 1 {
		return refuse("signature", "%s has %d signatures; exactly one is expected", signaturesName, len(config.Signatures))
	}
	if config.Plugin != "" && config.Plugin != "_default" {
		return refuse("signature", "it is signed in the way of the plugin %q, which is not known", config.Plugin)
	}
	parts := strings.Split(config.Signatures[0], ".")
	if len(parts) != 3 {
		return refuse("signature", "the signature is not a compact JWS")
	}
	if err := checkJoseHeader(parts[0], v); err != nil {
		return err
	}
	return checkSignedFiles(parts[1], entries)
}

func checkJoseHeader(part string, v *verification) error {
	var header map[string]any
	if err := decodePart(part, &header); err != nil {
		return refuse("signature", "the header of the signature is malformed: %v", err)
	}
	if _, critical := header["crit"]; critical {
		return refuse("signature", "the signature has critical extensions, which are not known")
	}
	if encoded, given := header["b64"]; given && encoded != true {
		return refuse("signature", "the signature has an unencoded payload")
	}
	id := v.KeyID
	if id == "" {
		id, _ = header["kid"].(string)
	}
	if key, known := v.Keys[id]; known && header["alg"] != key.Algorithm {
		return refuse("signature", "the signature was made with the algorithm %q; the key is configured for %q", header["alg"], key.Algorithm)
	}
	return nil
}

func checkSignedFiles(part string, entries []entry) error {
	var payload struct {
		Files []struct {
			Name      string `json:"name"`
			Hash      string `json:"hash"`
			Algorithm string `json:"algorithm"`
		} `json:"files"`
	}
	if err := decodePart(part, &payload); err != nil {
		return refuse("signature", "the payload of the signature is malformed: %v", err)
	}
	signed := map[string]bool{}
	for _, file := range payload.Files {
		if signed[file.Name] {
			return refuse("signature", "the signature names the file %q twice", file.Name)
		}
		if !slices.Contains(hashAlgorithms, file.Algorithm) {
			return refuse("signature", "the file %q is hashed with %q, which is not allowed", file.Name, file.Algorithm)
		}
		signed[file.Name] = true
	}
	for _, e := range entries {
		if e.canonical == "patch.json" {
			return refuse("signature", "it is a delta bundle, which cannot be signed")
		}
		if e.canonical != signaturesName && !signed[strings.TrimPrefix(e.name, "/")] {
			return refuse("signature", "the file %q is not among those that are signed", e.canonical)
		}
	}
	return nil
}

func decodePart(part string, into any) error {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func decodeStrictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("something follows the object")
	}
	return nil
}

// entryLoader hands the entries to OPA's reader, so that there is no second reading of the archive.
type entryLoader struct {
	entries []entry
	next    int
}

func (l *entryLoader) NextFile() (*bundle.Descriptor, error) {
	if l.next == len(l.entries) {
		return nil, io.EOF
	}
	e := l.entries[l.next]
	l.next++
	return bundle.NewDescriptor(e.name, e.name, bytes.NewBuffer(e.content)), nil
}

func (l *entryLoader) WithFilter(filter.LoaderFilter) bundle.DirectoryLoader   { return l }
func (l *entryLoader) WithPathFormat(bundle.PathFormat) bundle.DirectoryLoader { return l }
func (l *entryLoader) WithSizeLimitBytes(int64) bundle.DirectoryLoader         { return l }
func (l *entryLoader) WithFollowSymlinks(bool) bundle.DirectoryLoader          { return l }
