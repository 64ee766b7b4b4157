// Package schema holds what is known of the Office 365 Management Activity API schema as tables: names of enum values, keys
// whose type Microsoft varies, and the category of a record. The tables are tables/*.csv; schema_gen.go is generated from them.
//
// Sources: https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-schema and the
// AuditLogRecordType enum in the metadata of Microsoft Graph (https://graph.microsoft.com/beta/$metadata). Record types whose
// number the two give to different things have no name.
package schema

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

//go:generate go run ./gen

// Type is the type a key keeps whatever Microsoft sends.
type Type uint8

// The types of the stable type table; Any is every key that is not in it.
const (
	Any Type = iota
	Boolean
	Integer
)

// StableType returns the type of a flat key at the top level of a record.
func StableType(key []byte) Type { return stableType(key) }

// Enums that LoadNames takes.
const (
	EnumRecordType = "RecordType"
	EnumUserType   = "UserType"
	EnumLogonType  = "LogonType"
)

type enumValue struct {
	enum  string
	value int64
}

// Names gives the names of enum values. A nil *Names is the built-in table.
type Names struct {
	overrides map[enumValue]string
}

// RecordType returns the name of an AuditLogRecordType, "" for a number that has none.
func (n *Names) RecordType(value int64) string {
	return n.name(EnumRecordType, value, recordTypeName)
}

// UserType returns the name of a UserType, "" for a number that has none.
func (n *Names) UserType(value int64) string { return n.name(EnumUserType, value, userTypeName) }

// LogonType returns the name of an Exchange LogonType, "" for a number that has none.
func (n *Names) LogonType(value int64) string { return n.name(EnumLogonType, value, logonTypeName) }

func (n *Names) name(enum string, value int64, builtin func(int64) string) string {
	if n != nil {
		if name, ok := n.overrides[enumValue{enum, value}]; ok {
			return name
		}
	}
	return builtin(value)
}

// LoadNames reads lines of enum,value,name (enum: RecordType, UserType or LogonType; value: an integer) that add to the built-in
// table and override it. A first line `enum,value,name`, blank lines and lines that begin with # are passed over; of two lines
// for one value the later holds. Errors name the line.
func LoadNames(r io.Reader) (*Names, error) {
	lines := csv.NewReader(r)
	lines.Comment = '#'
	lines.FieldsPerRecord = -1
	lines.TrimLeadingSpace = true
	names := &Names{overrides: map[enumValue]string{}}
	for first := true; ; first = false {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil { // a *csv.ParseError names the line, a read error has none
			return nil, fmt.Errorf("reading enum names: %w", err)
		}
		line, _ := lines.FieldPos(0)
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if first {
			fields[0] = strings.TrimPrefix(fields[0], "\ufeff")
			if strings.Join(fields, ",") == "enum,value,name" {
				continue
			}
		}
		if err := names.add(fields); err != nil {
			return nil, fmt.Errorf("reading enum names: line %d: %w", line, err)
		}
	}
}

func (n *Names) add(fields []string) error {
	if len(fields) != 3 {
		return fmt.Errorf("%d fields, want enum,value,name", len(fields))
	}
	enum, text, name := fields[0], fields[1], fields[2]
	switch enum {
	case EnumRecordType, EnumUserType, EnumLogonType:
	default:
		return fmt.Errorf("enum %q is none of RecordType, UserType, LogonType", enum)
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("value %q is not an integer", text)
	}
	if name == "" || !utf8.ValidString(name) {
		return fmt.Errorf("the name of %s %d is empty or not UTF-8", enum, value)
	}
	n.overrides[enumValue{enum, value}] = name
	return nil
}

// CategoryOther is the category of a record that no row of the category table fits.
const CategoryOther = "other"

// recordTypeExchangeAdmin records are PowerShell cmdlets; their Operation is Verb-Noun.
const recordTypeExchangeAdmin = 1

// Category returns the category of a record: by its operation (letter case and a trailing dot do not count), by the noun of an
// Exchange cmdlet, by its record type, by its workload, the first of these that the table knows. recordType is -1 where the
// record has none.
func Category(workload []byte, recordType int64, operation []byte) string {
	var buf [64]byte // longer than every operation of the table
	if len(operation) < len(buf) {
		name := appendLower(buf[:0], bytes.TrimSuffix(operation, []byte(".")))
		if c := operationCategory(name); c != "" {
			return c
		}
		if _, noun, ok := bytes.Cut(name, []byte("-")); ok && recordType == recordTypeExchangeAdmin {
			if c := cmdletNounCategory(noun); c != "" {
				return c
			}
		}
	}
	if c := recordTypeCategory(recordType); c != "" {
		return c
	}
	if c := workloadCategory(workload); c != "" {
		return c
	}
	return CategoryOther
}

func appendLower(dst, s []byte) []byte {
	for _, c := range s {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}
