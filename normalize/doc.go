// Package normalize turns audit records of the Office 365 Management Activity API (JSON) into Fluent Bit events (msgpack).
//
// A Reader splits a content blob into records, an Encoder appends one event per record. In format flat a record becomes one map
// of flat keys: nested names are joined, arrays of objects become columns, name/value lists become keys. A record that cannot be
// read becomes an event too: nothing is dropped.
//
// The way of a record through an Encoder: tape.go parses it once into a flat list of nodes that point into its bytes; flatten.go
// walks the nodes and gathers the values of each key in a key table (keys.go); emit.go writes the table as msgpack. All of these
// are reused from record to record. What follows from names alone, such as flat keys, is remembered in a path table (paths.go),
// because records repeat their names.
package normalize
