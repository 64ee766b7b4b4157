package tenant

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"in_office365/test/tenant/records"
)

// Content is a blob to be offered.
type Content struct {
	ContentType string
	Created     time.Time // contentCreated, kept in milliseconds
	Visible     time.Time // from when the listing has it; zero: from Created
	Expires     time.Time // contentExpiration; zero: Created + Config.Retention
	Source      Source
}

// Source makes the records of a blob, the same whenever it is asked.
type Source interface {
	// Write writes the blob's body.
	Write(w io.Writer, contentType string, created time.Time) error
	// IDs yields the Id of each record that a collector must deliver.
	IDs() iter.Seq[string]
	// Count is how many records those are.
	Count() int
}

// Generated is a Source of records made from a seed. Two blobs whose seeds are equal and whose index ranges overlap
// hold the same records, if At is the same too.
type Generated struct {
	Seed    uint64
	First   uint64    // index of the first record
	Records int       // how many
	Family  string    // one family of package records; empty: the content type's mixture
	At      time.Time // what CreationTime counts back from; zero: the blob's Created
}

// Record times lie up to maxEventAge before their blob's contentCreated: core workloads deliver within 60 to 90 minutes.
const maxEventAge = 90 * time.Minute

// chunk is how much of a body is made before it is written.
const chunk = 64 << 10

func (g Generated) Write(w io.Writer, contentType string, created time.Time) error {
	if !g.At.IsZero() {
		created = g.At
	}
	buf := append(make([]byte, 0, chunk+chunk/4), '[')
	for i := range uint64(g.Records) {
		if i > 0 {
			buf = append(buf, ',')
		}
		index := g.First + i
		at := created.Add(-time.Duration(index*7919%uint64(maxEventAge/time.Second)) * time.Second)
		if g.Family != "" {
			buf = records.AppendFamily(buf, g.Family, g.Seed, index, at)
		} else {
			buf = records.Append(buf, contentType, g.Seed, index, at)
		}
		if len(buf) >= chunk {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	_, err := w.Write(append(buf, ']'))
	return err
}

func (g Generated) IDs() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range uint64(g.Records) {
			if !yield(records.ID(g.Seed, g.First+i)) {
				return
			}
		}
	}
}

func (g Generated) Count() int { return g.Records }

// Sized is a Generated source of at least size bytes. It generates them once to count the records.
func Sized(contentType string, seed uint64, size int64) Generated {
	var buf []byte
	n := 0
	for total := int64(2); total < size; n++ {
		buf = records.Append(buf[:0], contentType, seed, uint64(n), time.Unix(0, 0))
		total += int64(len(buf)) + 1
	}
	return Generated{Seed: seed, Records: n}
}

// Literal is a Source of records written by hand, joined to an array as they are, valid or not. ID names the Id of
// each in the same order; an empty one is not accounted for.
type Literal struct {
	Records []string
	ID      []string
}

func (l Literal) Write(w io.Writer, _ string, _ time.Time) error {
	_, err := io.WriteString(w, "["+strings.Join(l.Records, ",")+"]")
	return err
}

func (l Literal) IDs() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, id := range l.ID {
			if id != "" && !yield(id) {
				return
			}
		}
	}
}

func (l Literal) Count() int {
	n := 0
	for range l.IDs() {
		n++
	}
	return n
}

// Body is a Source that is a whole body: an HTML page, one object without an array, a byte order mark. It accounts
// for no record.
type Body string

func (b Body) Write(w io.Writer, _ string, _ time.Time) error {
	_, err := io.WriteString(w, string(b))
	return err
}
func (b Body) IDs() iter.Seq[string] { return func(func(string) bool) {} }
func (b Body) Count() int            { return 0 }

// blob is Content with its contentId and what happened to it. The counts are guarded by Tenant.mu.
type blob struct {
	Content
	id     string
	number int // order of addition

	removed bool

	listed, whole, partial, refused int
	bytes                           int64 // of JSON in the whole fetches
}

// visible reports whether the API shows the blob: one that was listed stays, though the tenant's clock goes back. Tenant.mu is held.
func (b *blob) visible(now time.Time) bool {
	return !b.removed && (b.listed > 0 || !b.Visible.After(now))
}

// AddBlob offers a blob of the content type created then, and returns its contentId.
func (t *Tenant) AddBlob(contentType string, created time.Time, source Source) string {
	return t.Add(Content{ContentType: contentType, Created: created, Source: source})
}

// Add offers a blob and returns its contentId. It panics when the content type is not one of the five.
func (t *Tenant) Add(c Content) string {
	if !slices.Contains(ContentTypes(), c.ContentType) {
		panic(fmt.Sprintf("tenant: content type %q does not exist", c.ContentType))
	}
	c.Created = c.Created.UTC().Truncate(time.Millisecond)
	setDefault(&c.Visible, c.Created)
	setDefault(&c.Expires, c.Created.Add(t.config.Retention))
	t.mu.Lock()
	defer t.mu.Unlock()
	b := &blob{Content: c, number: len(t.blobs)}
	b.id = contentID(c.ContentType, c.Created, b.number)
	t.blobs[b.id] = b
	list := t.byCreated[c.ContentType]
	at, _ := slices.BinarySearchFunc(list, position{c.Created, b.number}, compare)
	t.byCreated[c.ContentType] = slices.Insert(list, at, b)
	return b.id
}

// Republish offers the blob contentID again under a new contentId, which it returns, with the same records. It panics
// when there is no such blob.
func (t *Tenant) Republish(contentID string, created time.Time) string {
	t.mu.Lock()
	b := t.blobs[contentID]
	t.mu.Unlock()
	if b == nil {
		panic(fmt.Sprintf("tenant: no blob %q", contentID))
	}
	source := b.Source
	if g, ok := source.(Generated); ok && g.At.IsZero() {
		g.At = b.Created // the same records, their times included
		source = g
	}
	return t.AddBlob(b.ContentType, created, source)
}

// Remove makes a blob vanish from the API; it stays in the account.
func (t *Tenant) Remove(contentID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.blobs[contentID]; b != nil {
		b.removed = true
	}
}

// Plan describes many generated blobs.
type Plan struct {
	Seed         uint64
	ContentTypes []string      // empty: all five
	Blobs        int           // per content type
	Records      int           // per blob
	From, To     time.Time     // contentCreated is spread evenly over [From, To)
	LateEvery    int           // every so many-th blob becomes visible LateBy after its contentCreated; 0: none
	LateBy       time.Duration // how late
}

// Publish offers the plan's blobs and returns their contentIds.
func (t *Tenant) Publish(p Plan) []string {
	types := p.ContentTypes
	if len(types) == 0 {
		types = ContentTypes()
	}
	ids := make([]string, 0, p.Blobs*len(types))
	for i := range p.Blobs {
		created := p.From.Add(time.Duration(float64(p.To.Sub(p.From)) * float64(i) / float64(p.Blobs)))
		for k, ct := range types {
			n := i*len(types) + k
			c := Content{
				ContentType: ct,
				Created:     created,
				Source:      Generated{Seed: p.Seed, First: uint64(n) * uint64(p.Records), Records: p.Records},
			}
			if p.LateEvery > 0 && (n+1)%p.LateEvery == 0 {
				c.Visible = created.Add(p.LateBy)
			}
			ids = append(ids, t.Add(c))
		}
	}
	return ids
}

// position orders blobs within a content type.
type position struct {
	created time.Time
	number  int
}

func compare(b *blob, p position) int {
	if c := b.Created.Compare(p.created); c != 0 {
		return c
	}
	return b.number - p.number
}

// contentID is made like the live ones: "<time>$<time>$audit_exchange$Audit_Exchange$emea0001", where a time has
// 23 digits. The last six of these number the blob here.
func contentID(contentType string, created time.Time, number int) string {
	stamp := fmt.Sprintf("%s%03d%06d", created.Format("20060102150405"), created.Nanosecond()/int(time.Millisecond), number)
	name := strings.ReplaceAll(contentType, ".", "_")
	return stamp + "$" + stamp + "$" + strings.ToLower(name) + "$" + name + "$emea0001"
}
