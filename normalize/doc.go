// Package normalize turns audit records of the Office 365 Management Activity API (JSON) into Fluent Bit events (msgpack).
//
// A Reader splits a content blob into records, an Encoder appends one event per record. In format flat a record becomes one map
// of flat keys: nested names are joined, arrays of objects become columns, name/value lists become keys. A record that cannot be
// read becomes an event too: nothing is dropped.
//
// The way of a record: the Reader has its Encoder parse it in the read window (tape.go), once, into a flat list of nodes that point
// into its bytes; so it finds where the record ends. flatten.go walks the nodes. A value outside arrays is written as msgpack when
// it is met (emit.go); those of an array gather in a key table (keys.go), unless all its elements are alike. All memory is reused
// from record to record. What follows from names alone, such as flat keys, is remembered in a path table (paths.go), because
// records repeat their names.
//
// Most of a record is short texts, and what their length decides is what a processor predicts wrongly. So names are compared, and
// strings scanned and copied, in chunks of a fixed size that most of them fit in, with a slower way for the rest.
package normalize
