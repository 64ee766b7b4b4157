package collector

import "sync/atomic"

// stats counts events since the start.
type stats struct {
	BlobsListed   atomic.Int64 // blobs that were new
	BlobsFetched  atomic.Int64 // bodies read to their end
	BlobsSettled  atomic.Int64
	BlobsLost     atomic.Int64
	FetchFailures atomic.Int64
	ListFailures  atomic.Int64
	Records       atomic.Int64 // records put on their way to the host, unreadable ones among them
	Unreadable    atomic.Int64
	Repeated      atomic.Int64 // records dropped because their Id had been put before
	Gaps          atomic.Int64
	Notices       atomic.Int64
	Panics        atomic.Int64
}

// summary is the line at the end of a run.
func (s *stats) summary() []any {
	return []any{
		"blobs_listed", s.BlobsListed.Load(), "blobs_fetched", s.BlobsFetched.Load(), "blobs_settled", s.BlobsSettled.Load(), "blobs_lost", s.BlobsLost.Load(),
		"records", s.Records.Load(), "unreadable", s.Unreadable.Load(), "repeated", s.Repeated.Load(),
		"fetch_failures", s.FetchFailures.Load(), "list_failures", s.ListFailures.Load(),
		"gaps", s.Gaps.Load(), "notices", s.Notices.Load(), "panics", s.Panics.Load(),
	}
}
