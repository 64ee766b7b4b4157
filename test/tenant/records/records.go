// Package records generates audit records of the Office 365 Management Activity API for tests and
// benchmarks: the shapes of some three dozen record families, deterministic in every byte, and appended
// without building a tree, so that a blob of any size can be streamed from a seed.
//
// A family is one JSON document in families/, written with the placeholders that template.go lists.
// Their shapes follow the schema Microsoft documents at
// https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-schema
// and what public samples show beyond it. All names, addresses and GUIDs are invented.
package records

import (
	"embed"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The content types of the API, in Microsoft's spelling.
const (
	AzureActiveDirectory = "Audit.AzureActiveDirectory"
	Exchange             = "Audit.Exchange"
	SharePoint           = "Audit.SharePoint"
	General              = "Audit.General"
	DLP                  = "DLP.All"
)

// OrganizationID is the tenant every generated record names.
const OrganizationID = "5f1c3a52-7b0e-4d3c-9a68-2e4d6b8f0a11"

// ContentTypes lists the five content types.
func ContentTypes() []string {
	return []string{AzureActiveDirectory, Exchange, SharePoint, General, DLP}
}

// ID is the Id of record index of the stream that seed names. No two pairs give the same Id.
func ID(seed, index uint64) string { return string(appendID(nil, seed, index)) }

func appendID(dst []byte, seed, index uint64) []byte {
	low := mix(seed)
	return appendGUID(dst, mix(index^low), low) // mix is a bijection, so (seed, index) -> 128 bits is injective
}

// Append appends record index of the stream that seed names, of a family that occurs in contentType, to dst.
// at becomes its CreationTime. It panics when contentType is not one of the five.
func Append(dst []byte, contentType string, seed, index uint64, at time.Time) []byte {
	c := catalogue()
	mixed, ok := c.byContentType[contentType]
	if !ok {
		panic(fmt.Sprintf("records: content type %q does not exist", contentType))
	}
	pick := int(mix(mix(seed)+index) % uint64(mixed.total))
	i, _ := slices.BinarySearch(mixed.cumulative, pick+1)
	return mixed.programs[i].append(dst, seed, index, at)
}

// AppendFamily is Append for one family. It panics when the family does not exist.
func AppendFamily(dst []byte, family string, seed, index uint64, at time.Time) []byte {
	p, ok := catalogue().byName[family]
	if !ok {
		panic(fmt.Sprintf("records: family %q does not exist", family))
	}
	return p.append(dst, seed, index, at)
}

// Families lists the names of all families; FamiliesOf those of one content type.
func Families() []string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.name
	}
	return names
}

// FamiliesOf lists the families that occur in a content type.
func FamiliesOf(contentType string) []string {
	var names []string
	for _, f := range families {
		if f.contentType == contentType {
			names = append(names, f.name)
		}
	}
	return names
}

//go:embed families/*.json
var templates embed.FS

// mixture is the families of one content type by weight.
type mixture struct {
	programs   []program
	cumulative []int // cumulative[i] is the weight of programs 0..i
	total      int
}

type compiled struct {
	byName        map[string]program
	byContentType map[string]*mixture
}

// catalogue compiles the templates, once. They are part of the program: one that does not compile is a bug of
// this package, which its tests find.
var catalogue = sync.OnceValue(func() *compiled {
	c := &compiled{byName: map[string]program{}, byContentType: map[string]*mixture{}}
	for _, f := range families {
		text, err := templates.ReadFile("families/" + f.name + ".json")
		if err != nil {
			panic(err)
		}
		p, err := compile(text)
		if err != nil {
			panic(fmt.Sprintf("records: family %s: %v", f.name, err))
		}
		c.byName[f.name] = p
		m := c.byContentType[f.contentType]
		if m == nil {
			m = &mixture{}
			c.byContentType[f.contentType] = m
		}
		m.total += f.weight
		m.programs = append(m.programs, p)
		m.cumulative = append(m.cumulative, m.total)
	}
	return c
})
