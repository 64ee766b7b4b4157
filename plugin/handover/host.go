package handover

// Host is what a queue is lent of Fluent Bit. It is used within HandOver only, on the input's thread.
type Host interface {
	// Append has Fluent Bit copy a batch. false: it refused, and has nothing of it.
	Append(batch []byte) bool
	// Synchronous says that Append returns when the engine is done with the batch, as its thread is the input's.
	Synchronous() bool
	// Metrics are those that Fluent Bit keeps of the input. false: it keeps none.
	Metrics() (Metrics, bool)
	// AtRest says whether the engine waits for something to do. known is false where that cannot be seen.
	AtRest() (rest, known bool)
}

// Metrics are some of those that Fluent Bit keeps of an input.
type Metrics struct {
	// Records have left the ring buffer: fluentbit_input_records_total. They are counted before filters see them and before they are
	// written to a chunk (Fluent Bit v5.1.1 src/flb_input_chunk.c:3309), unless BehindFilters.
	Records int64
	// BehindFilters says that what filters take out is not counted, as before v3.2.0: then the count is no receipt.
	BehindFilters bool
	// Memory is how many bytes of the input's chunks are in memory: fluentbit_input_storage_memory_bytes.
	Memory int64
	// Renewed changes when Memory is taken anew, every five seconds (src/flb_storage.c:372). Empty: it never is.
	Renewed string
}

// Receipts is how it is known that Fluent Bit is done with a batch.
type Receipts string

// The kinds of receipts.
const (
	ReceiptsUnknown  Receipts = ""             // nothing has been handed over yet
	ReceiptsByCount  Receipts = "count"        // by Fluent Bit's own count
	ReceiptsByReturn Receipts = "return value" // by what it returns: the engine's thread is the input's
	ReceiptsByTime   Receipts = "time"         // there are none: what it has had for a while counts as received
)
