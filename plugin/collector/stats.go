package collector

import (
	"slices"
	"sync/atomic"
)

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
	Panics        atomic.Int64
	Notices       [len(noticeKinds)]atomic.Int64 // by kind
}

// notice counts one of that kind.
func (s *stats) notice(kind string) { s.Notices[slices.Index(noticeKinds[:], kind)].Add(1) }

// summary is the line at the end of a run. Of the notices it names those kinds of which there were any.
func (s *stats) summary() []any {
	notices := int64(0)
	var kinds []any
	for i, kind := range noticeKinds {
		if n := s.Notices[i].Load(); n > 0 {
			notices += n
			kinds = append(kinds, "notice_"+kind, n)
		}
	}
	return append([]any{
		"blobs_listed", s.BlobsListed.Load(), "blobs_fetched", s.BlobsFetched.Load(), "blobs_settled", s.BlobsSettled.Load(), "blobs_lost", s.BlobsLost.Load(),
		"records", s.Records.Load(), "unreadable", s.Unreadable.Load(), "repeated", s.Repeated.Load(),
		"fetch_failures", s.FetchFailures.Load(), "list_failures", s.ListFailures.Load(),
		"gaps", s.Gaps.Load(), "panics", s.Panics.Load(), "notices", notices,
	}, kinds...)
}
