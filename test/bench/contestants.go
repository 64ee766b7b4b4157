package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/buger/jsonparser"
	"github.com/bytedance/sonic"
	"github.com/bytedance/sonic/ast"
	"github.com/minio/simdjson-go"
	"github.com/tidwall/gjson"
	"github.com/valyala/fastjson"

	"in_office365/normalize"
	"in_office365/test/obvious"
	"in_office365/test/tenant/records"
)

// contestant is one way to deal with a content blob.
type contestant struct {
	name   string
	absent string              // why it cannot run here, else ""
	new    func(b blob) runner // with memory of its own, which it keeps from pass to pass
}

// runner goes over its blob once, from the first byte to the last.
type runner func() error

// The contestants in the order of the table's columns.
const (
	theObvious = iota
	jsonValid
	theFastjson
	theSimdjson
	theSonic
	theJsonparser
	theGJSON
	flat
	raw
	fortiSIEM
)

// parsers only parse. They may refuse a blob: simdjson-go takes no lone surrogates, of which RFC 8259 section 8.2 leaves open what
// becomes of them.
var parsers = []int{theFastjson, theSimdjson, theSonic, theJsonparser, theGJSON}

func contestants() []contestant {
	all := []contestant{
		theObvious:    {name: "obvious", new: newObvious},
		jsonValid:     {name: "Valid", new: newValid},
		theFastjson:   {name: "fastjson", new: newFastjson},
		theSimdjson:   {name: "simdjson", new: newSimdjson},
		theSonic:      {name: "sonic", new: newSonic},
		theJsonparser: {name: "jsonparser", new: newJsonparser},
		theGJSON:      {name: "gjson", new: newGJSON},
		flat:          {name: "flat", new: newNormalize(normalize.FormatFlat)},
		raw:           {name: "raw", new: newNormalize(normalize.FormatRaw)},
		fortiSIEM:     {name: "fortisiem", new: newNormalize(normalize.FormatFortiSIEM)},
	}
	if !simdjson.SupportedCPU() {
		all[theSimdjson].absent = "no AVX2"
	}
	if sonic.APIKind == sonic.UseStdJSON {
		all[theSonic].absent = "no native" // it has no code for this processor or version of Go, and would use encoding/json
	}
	return all
}

// newObvious decodes the whole blob into maps.
func newObvious(b blob) runner {
	e := obvious.NewEncoder()
	text := []byte(b.text)
	var dst []byte
	return func() (err error) {
		dst, err = e.AppendBlob(dst[:0], text, records.OrganizationID, records.General)
		return err
	}
}

func newValid(b blob) runner {
	text := []byte(b.text)
	return func() error {
		if !json.Valid(text) {
			return errors.New("the blob is not JSON")
		}
		return nil
	}
}

// newFastjson reuses a Parser, as its README says, and is given the records one by one: the whole blob takes it slightly longer.
// It leaves strings and numbers undecoded until somebody asks for them.
func newFastjson(b blob) runner {
	var parser fastjson.Parser
	return func() error {
		for _, record := range b.records {
			if _, err := parser.Parse(record); err != nil {
				return err
			}
		}
		return nil
	}
}

// newSimdjson reuses its memory and leaves strings where they are, as its README says, and is given the whole blob: the records
// one by one take it longer. Its two stages would run at the same time had they more than one core.
func newSimdjson(b blob) runner {
	text := []byte(b.text)
	inPlace := simdjson.WithCopyStrings(false)
	var parsed *simdjson.ParsedJson
	return func() (err error) {
		parsed, err = simdjson.Parse(text, parsed, inPlace)
		return err
	}
}

// newSonic uses ast.Preorder, which its README recommends where a document is wanted whole. Decoding into interface{} takes it
// several times as long, and an ast.Node skips what nobody asks for. The records one by one take it as long as the whole blob.
func newSonic(b blob) runner {
	return func() error { return ast.Preorder(b.text, visitor{}, nil) }
}

// visitor takes note of nothing.
type visitor struct{}

func (visitor) OnNull() error                        { return nil }
func (visitor) OnBool(bool) error                    { return nil }
func (visitor) OnString(string) error                { return nil }
func (visitor) OnInt64(int64, json.Number) error     { return nil }
func (visitor) OnFloat64(float64, json.Number) error { return nil }
func (visitor) OnObjectBegin(int) error              { return nil }
func (visitor) OnObjectKey(string) error             { return nil }
func (visitor) OnObjectEnd() error                   { return nil }
func (visitor) OnArrayBegin(int) error               { return nil }
func (visitor) OnArrayEnd() error                    { return nil }

// newJsonparser goes over every value with ObjectEach and ArrayEach, which leave strings and numbers undecoded.
func newJsonparser(b blob) runner {
	text := []byte(b.text)
	return func() error { return visitJSON(text, jsonparser.Array) }
}

func visitJSON(text []byte, kind jsonparser.ValueType) (err error) {
	switch kind {
	case jsonparser.Object:
		err = jsonparser.ObjectEach(text, func(_, value []byte, kind jsonparser.ValueType, _ int) error { return visitJSON(value, kind) })
	case jsonparser.Array:
		_, arrayErr := jsonparser.ArrayEach(text, func(value []byte, kind jsonparser.ValueType, _ int, _ error) {
			err = errors.Join(err, visitJSON(value, kind))
		})
		err = errors.Join(err, arrayErr)
	}
	return err
}

// newGJSON goes over every value with ForEach, behind ValidBytes: without that it would take anything for JSON.
func newGJSON(b blob) runner {
	text := []byte(b.text)
	var visit func(_, value gjson.Result) bool
	visit = func(_, value gjson.Result) bool {
		if value.IsObject() || value.IsArray() {
			value.ForEach(visit)
		}
		return true
	}
	return func() error {
		if !gjson.ValidBytes(text) {
			return errors.New("the blob is not JSON")
		}
		gjson.ParseBytes(text).ForEach(visit)
		return nil
	}
}

// slabSize is how much of events is gathered before it is passed on, as in the plugin.
const slabSize = 64 << 10

// newNormalize does the whole job: the blob is split as it is read, and each record becomes an event.
func newNormalize(format normalize.Format) func(blob) runner {
	return func(b blob) runner {
		e, err := normalize.NewEncoder(normalize.Options{Format: format, EventTag: normalize.DefaultEventTag})
		if err != nil {
			return func() error { return err }
		}
		source := normalize.Source{Tenant: records.OrganizationID, ContentType: records.General, Created: created}
		body := strings.NewReader(b.text)
		reader := e.NewReader(body, 0)
		var dst []byte
		return func() error {
			body.Reset(b.text)
			reader.Reset(body)
			dst = dst[:0]
			for n := 0; ; n++ {
				record, err := reader.Next()
				switch {
				case err == io.EOF && n == len(b.records):
					return nil
				case err != nil:
					return fmt.Errorf("record %d of %d: %w", n, len(b.records), err)
				case record.Problem != "":
					return errors.New(record.Problem)
				}
				if len(dst) >= slabSize {
					dst = dst[:0]
				}
				var info normalize.Info
				if dst, info = e.AppendRecord(dst, record.Bytes, &source); info.Unreadable != "" {
					return errors.New(info.Unreadable)
				}
			}
		}
	}
}
