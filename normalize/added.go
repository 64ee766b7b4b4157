package normalize

import (
	"bytes"
	"hash/maphash"
	"strconv"
	"time"

	"in_office365/normalize/schema"
)

// addedKeys are the names of the keys that the plugin adds, with the separator in them.
type addedKeys struct {
	prefix                                                                   string
	id, tag, tenant, contentType                                             string
	recordType, userType, logonType, category, outcome, clientIP, clientPort string
	err, raw, overflow                                                       string
	notice, noticeFrom, noticeTo, noticeContentID, noticeReason              string
}

func newAddedKeys(separator byte) addedKeys {
	s := string(separator)
	prefix := "o365" + s
	notice := prefix + "notice"
	return addedKeys{
		prefix: prefix,
		id:     prefix + "id", tag: prefix + "tag", tenant: prefix + "tenant", contentType: prefix + "content_type",
		recordType: prefix + "record_type", userType: prefix + "user_type", logonType: prefix + "logon_type",
		category: prefix + "category", outcome: prefix + "outcome",
		clientIP: prefix + "client_ip", clientPort: prefix + "client_port",
		err: prefix + "error", raw: prefix + "raw", overflow: prefix + "overflow",
		notice: notice, noticeFrom: notice + "_from", noticeTo: notice + "_to", noticeContentID: notice + "_content_id",
		noticeReason: notice + "_reason",
	}
}

// set returns the names; none of them is ever given to a key of a record.
func (k *addedKeys) set() map[string]struct{} {
	set := map[string]struct{}{}
	for _, name := range []string{
		k.id, k.tag, k.tenant, k.contentType, k.recordType, k.userType, k.logonType, k.category, k.outcome, k.clientIP, k.clientPort,
		k.err, k.raw, k.overflow, k.notice, k.noticeFrom, k.noticeTo, k.noticeContentID, k.noticeReason,
	} {
		set[name] = struct{}{}
	}
	return set
}

// topMember is a member at the top level of a record that feeds the event's time and the added keys.
type topMember uint8

const (
	topNone topMember = iota // of other members
	topID
	topCreationTime
	topRecordType
	topUserType
	topLogonType
	topWorkload
	topOperation
	topResultStatus
	topErrorNumber
	topClientIP
	topClientIPAddress
	topActorIPAddress
	topTenantID
	topMembers
)

func topMemberOf(name []byte) topMember {
	switch string(name) {
	case "Id":
		return topID
	case "CreationTime":
		return topCreationTime
	case "RecordType":
		return topRecordType
	case "UserType":
		return topUserType
	case "LogonType":
		return topLogonType
	case "Workload":
		return topWorkload
	case "Operation":
		return topOperation
	case "ResultStatus":
		return topResultStatus
	case "ErrorNumber":
		return topErrorNumber
	case "ClientIP":
		return topClientIP
	case "ClientIPAddress":
		return topClientIPAddress
	case "ActorIpAddress":
		return topActorIPAddress
	case "TenantId":
		return topTenantID
	}
	return topNone
}

// findTopMembers notes the last non-null one of each, as flattenObject does.
func (e *Encoder) findTopMembers() {
	e.top = [topMembers]uint32{}
	for child, end := uint32(1), e.nodes[0].next; child < end; child = e.nodes[child].next {
		n := &e.nodes[child]
		if n.kind != kindNull {
			e.top[e.paths.paths[n.path].top] = child
		}
	}
}

// topString returns the value of a member; empty if it is no string. A value that is to be decoded lies in scratch.
func (e *Encoder) topString(scratch *[]byte, member topMember) []byte {
	i := e.top[member]
	switch n := &e.nodes[i]; {
	case i == noNode || n.kind != kindString:
		return nil
	case n.flags&(flagDirty|flagRedacted) == 0:
		return e.text(i)
	}
	*scratch = e.appendString((*scratch)[:0], i)
	return *scratch
}

func (e *Encoder) topInteger(member topMember) (int64, bool) {
	if i := e.top[member]; i != noNode {
		return e.integer(i)
	}
	return 0, false
}

// creationTime returns the zero time if the record does not tell.
func (e *Encoder) creationTime() time.Time {
	text := e.topString(&e.scratch, topCreationTime)
	if created, ok := e.day.parse(text); ok {
		return created
	}
	created, ok := parseTime(text)
	if ok {
		e.day.remember(text, created)
	}
	return created
}

// origin is what every event has, also those that are no record: nearly always what the event before had.
type origin struct {
	tenant, contentType string
	pairs               []byte // as msgpack
	count               int
}

func (e *Encoder) appendOrigin(to *event, tenant, contentType string) {
	o := &e.origin
	if o.count == 0 || o.tenant != tenant || o.contentType != contentType {
		pairs := event{dst: o.pairs[:0]}
		pairs.text(e.added.tag, e.options.EventTag)
		pairs.text(e.added.tenant, tenant)
		pairs.text(e.added.contentType, contentType)
		*o = origin{tenant, contentType, pairs.dst, pairs.count}
	}
	to.pairs(o.pairs, o.count)
}

// namePairs remembers the pairs of a number's name: in a tenant's records there are few.
type namePairs struct {
	key   string
	name  func(int64) string
	slots [64]struct {
		known bool
		value int64
		pairs []byte // as msgpack
		count int    // 0 for a number without a name
	}
}

func (p *namePairs) appendTo(to *event, value int64) {
	s := &p.slots[uint64(value)%uint64(len(p.slots))]
	if !s.known || s.value != value {
		pair := event{dst: s.pairs[:0]}
		pair.known(p.key, p.name(value))
		s.known, s.value, s.pairs, s.count = true, value, pair.dst, pair.count
	}
	to.pairs(s.pairs, s.count)
}

// categoryPairs remembers the pair of a category by what that follows from: in a tenant's records there are few operations.
type categoryPairs struct {
	key   string
	seed  maphash.Seed
	slots [256]struct {
		recordType          int64
		workload, operation []byte
		pairs               []byte // as msgpack; empty in a free slot
	}
}

func (p *categoryPairs) appendTo(to *event, workload []byte, recordType int64, operation []byte) {
	const longest = 64 // more than the texts that tell a category
	if len(workload) > longest || len(operation) > longest {
		to.known(p.key, schema.Category(workload, recordType, operation))
		return
	}
	s := &p.slots[maphash.Bytes(p.seed, operation)%uint64(len(p.slots))]
	if len(s.pairs) == 0 || s.recordType != recordType || !bytes.Equal(s.operation, operation) || !bytes.Equal(s.workload, workload) {
		pair := event{dst: s.pairs[:0]}
		pair.known(p.key, schema.Category(workload, recordType, operation))
		s.recordType, s.pairs = recordType, pair.dst
		s.workload, s.operation = append(s.workload[:0], workload...), append(s.operation[:0], operation...)
	}
	to.pairs(s.pairs, 1)
}

// appendAdded adds the keys of a readable record and returns its Id.
func (e *Encoder) appendAdded(event *event, src *Source) []byte {
	id := e.recordID()
	if len(id) > 0 {
		event.bytes(e.added.id, id)
	}
	e.appendOrigin(event, src.Tenant, src.ContentType)

	recordType, ok := e.topInteger(topRecordType)
	if ok {
		e.recordTypes.appendTo(event, recordType)
	} else {
		recordType = -1
	}
	if v, ok := e.topInteger(topUserType); ok {
		e.userTypes.appendTo(event, v)
	}
	if v, ok := e.topInteger(topLogonType); ok {
		e.logonTypes.appendTo(event, v)
	}
	workload, operation := e.topString(&e.decoded, topWorkload), e.topString(&e.scratch, topOperation)
	e.categories.appendTo(event, workload, recordType, operation)
	event.known(e.added.outcome, e.outcome(recordType, operation))

	for _, member := range [...]topMember{topClientIP, topClientIPAddress, topActorIPAddress} {
		text := e.topString(&e.scratch, member)
		if isPlainIPv4(text) { // as most are
			event.bytes(e.added.clientIP, text)
			break
		}
		if addr, port, ok := parseAddress(text); ok {
			e.scratch = addr.AppendTo(e.scratch[:0])
			event.bytes(e.added.clientIP, e.scratch)
			if port >= 0 {
				event.integer(e.added.clientPort, int64(port))
			}
			break
		}
	}
	if e.options.Format == FormatFlat && e.overflowing > 0 {
		overflow := e.appendOverflow(nil)
		event.bytes(e.added.overflow, overflow)
	}
	return id
}

// recordID returns the record's Id as it goes into its event, empty if it has none.
func (e *Encoder) recordID() []byte {
	i := e.top[topID]
	switch n := &e.nodes[i]; {
	case i == noNode || e.isEmpty(i):
		return nil
	case n.kind != kindString:
		e.id = e.appendJSON(e.id[:0], i)
	case n.flags&(flagDirty|flagRedacted) == 0:
		return e.text(i)
	default:
		e.id = e.appendString(e.id[:0], i)
	}
	return e.id
}

const (
	outcomeSuccess = "success"
	outcomeFailure = "failure"
)

// recordTypeStsLogon is AzureActiveDirectoryStsLogon. ResultStatus of its records says that the HTTP exchange worked, not the
// sign-in (https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-schema).
const recordTypeStsLogon = 15

// outcome returns success, failure, or "" where a record does not tell or tells both (PartiallySucceeded).
func (e *Encoder) outcome(recordType int64, operation []byte) string {
	switch string(operation) {
	case "UserLoggedIn":
		return outcomeSuccess
	case "UserLoginFailed":
		return outcomeFailure
	}
	if recordType == recordTypeStsLogon {
		number, ok := e.topInteger(topErrorNumber)
		switch {
		case !ok:
			return ""
		case number == 0:
			return outcomeSuccess
		}
		return outcomeFailure
	}
	i := e.top[topResultStatus]
	if i == noNode {
		return ""
	}
	switch e.nodes[i].kind {
	case kindTrue:
		return outcomeSuccess
	case kindFalse:
		return outcomeFailure
	case kindString:
		return outcomeOf(e.stringOf(i))
	}
	return ""
}

func outcomeOf(status []byte) string {
	const longest = len("successful")
	if len(status) > longest {
		return ""
	}
	var buf [longest]byte
	for i, c := range status {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	switch string(buf[:len(status)]) {
	case "true", "success", "succeeded", "successful":
		return outcomeSuccess
	case "false", "failed", "failure", "fail":
		return outcomeFailure
	}
	return ""
}

// Notice is a record that the collector makes itself, of a gap or a loss for example. What is empty or zero is left out.
type Notice struct {
	Kind, Tenant, ContentType, ContentID, Reason string
	From, To                                     time.Time
	Time                                         time.Time // of the event; zero means now
}

// AppendNotice appends exactly one event for a notice, with the same keys in every format; and what a destination reads that wants
// one text, as for a record: in FormatFortiSIEM its line, under Options.RawKey its JSON.
func (e *Encoder) AppendNotice(dst []byte, n *Notice) []byte {
	when := e.eventTime(n.Time)
	event := beginEvent(dst)
	if e.options.Format == FormatFortiSIEM {
		event.bytes(messageKey, e.appendNoticeLine(nil, n, when))
	}
	if e.options.RawKey != "" {
		event.bytes(e.options.RawKey, e.appendNoticeJSON(nil, n, when))
	}
	e.appendOrigin(&event, n.Tenant, n.ContentType)
	event.text(e.added.notice, n.Kind)
	event.text(e.added.noticeFrom, noticeTime(n.From))
	event.text(e.added.noticeTo, noticeTime(n.To))
	event.text(e.added.noticeContentID, n.ContentID)
	event.text(e.added.noticeReason, n.Reason)
	return event.end(when)
}

func noticeTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func appendInt(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) }

func appendBool(dst []byte, v bool) []byte { return strconv.AppendBool(dst, v) }
