package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"in_office365/normalize"
	"in_office365/o365"
	"in_office365/plugin/config"
	"in_office365/plugin/handover"
	"in_office365/plugin/ledger"
)

const (
	// dispatchBatch is how many due blobs are taken from the ledger at once, and dispatchFew how many where there are several
	// tenants, each of whose content types may have as many in memory: half a kilobyte each.
	dispatchBatch = 64
	dispatchFew   = 8
	// bufferSize is how much a fetcher gathers before it takes the queue's lock.
	bufferSize = 64 << 10
	// fetchBackoff is the wait after a blob's first failure; it doubles up to fetchBackoffMost.
	fetchBackoff     = 5 * time.Second
	fetchBackoffMost = 15 * time.Minute
	// holdAfter failures in a row the next fetches wait too: then it is hardly the blobs' fault.
	holdAfter = 8
	holdMost  = time.Minute
	// unsureTries is how often a blob is asked for that is said to be gone in a way that a front door, or a wrong setting, could
	// say too; about ten minutes.
	unsureTries = 7
)

// flight is a blob from its first fetch until it is settled.
type flight struct {
	stream  *stream
	busy    atomic.Bool  // it is being fetched, or needs no further fetch; changed with stream.mu held
	dropped atomic.Bool  // Fluent Bit has dropped some of it: another flight begins where the ledger knows it to be
	queued  int64        // records put into the queue, or dropped as repeats; of the goroutine that fetches while busy
	entry   ledger.Entry // guarded by stream.mu
}

// fetcher is what one fetch needs, kept from one to the next.
type fetcher struct {
	encoder *normalize.Encoder
	reader  *normalize.Reader
	body    counted
	buffer  handover.Buffer
}

// counted counts what is read from a body.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func newFetcher(cfg *config.Config) (*fetcher, error) {
	encoder, err := normalize.NewEncoder(cfg.Record)
	if err != nil {
		return nil, err
	}
	return &fetcher{encoder: encoder, reader: encoder.NewReader(nil, cfg.MaxRecordSize)}, nil
}

// dispatch sends fetchers out for blobs that are due, until ctx ends.
func (s *stream) dispatch(ctx context.Context) {
	few := dispatchBatch
	if s.c.several() {
		few = dispatchFew
	}
	for ctx.Err() == nil {
		if hold := time.Until(s.heldUntil()); hold > 0 {
			if !sleep(ctx, hold) {
				return
			}
			continue
		}
		due, next, err := s.ledger.Due(s.now(), few, s.inFlight)
		if err != nil {
			s.readingToFetch.report(err, "")
			if !sleep(ctx, restartDelay) {
				return
			}
			continue
		}
		s.readingToFetch.over()
		for _, e := range due {
			call, err := s.tenant.turn(ctx, s.fetchTurn)
			if err != nil {
				return
			}
			f, err := s.takeOff(e.ID)
			if f == nil {
				s.fetchTurn.giveBack()
				if err != nil {
					s.readingToFetch.report(err, "")
				}
				continue
			}
			s.tenant.group.Go(func() {
				fetcher := <-s.c.fetchers // who has a turn waits for none
				defer func() {
					s.c.fetchers <- fetcher
					s.fetchTurn.giveBack()
				}()
				_ = s.c.contained(call, "noting a fetch", func(call context.Context) { s.fetch(ctx, call, fetcher, f) })
			})
			if s.heldUntil().After(time.Now()) {
				break
			}
		}
		if len(due) == 0 && !s.waitForDue(ctx, next) {
			return
		}
	}
}

func (s *stream) waitForDue(ctx context.Context, next time.Time) bool {
	var turn <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(max(next.Sub(s.now()), 0))
		defer timer.Stop()
		turn = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.wake:
	case <-turn:
	}
	return true
}

func (s *stream) heldUntil() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hold
}

// inFlight needs no lock: the ledger asks while it holds its own.
func (s *stream) inFlight(id string) bool {
	f, known := s.flights.Load(id)
	return known && f.(*flight).busy.Load()
}

// takeOff begins or resumes the flight of a pending blob; nil if it has ended meanwhile.
func (s *stream) takeOff(id string) (*flight, error) {
	e, known, err := s.ledger.Get(id)
	if err != nil || !known || e.State != ledger.Pending {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if resumed, known := s.flights.Load(id); known {
		f := resumed.(*flight)
		f.busy.Store(true)
		return f, nil
	}
	f := &flight{stream: s, queued: e.Settled, entry: e}
	f.busy.Store(true)
	s.flights.Store(id, f)
	return f, nil
}

func (s *stream) entry(f *flight) ledger.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.entry
}

// fetch brings one blob into the queue, or notes why it could not. call is the context that s.tenant.turn has made of ctx.
func (s *stream) fetch(ctx, call context.Context, fetcher *fetcher, f *flight) {
	var err error
	if panicked := s.c.contained(call, "fetching a blob", func(call context.Context) { err = s.transfer(call, fetcher, f) }); panicked != nil {
		err = panicked
	}
	if f.dropped.Load() { // another fetch begins, or has begun
		return
	}
	if ctx.Err() == nil {
		s.fetchTurn.fared(err == nil)
	}
	switch {
	case err == nil:
		s.counts.fetched.Add(1)
		s.landed()
		s.fetching.over()
	case ctx.Err() != nil:
		s.interrupted(f)
	case action(err) == o365.GiveUp && (certain(err) || s.entry(f).Tries >= unsureTries):
		s.lose(ctx, f, &s.counts.lostGone, err)
	case s.expired(f):
		s.lose(ctx, f, &s.counts.lostExpired, fmt.Errorf("expired, and the last try failed: %w", err))
	default:
		s.counts.fetchFailures.Add(1)
		s.trouble(ctx, &s.fetching, err)
		s.tryAgain(f, err)
	}
}

// certain says that a blob is gone by the API's own word.
func certain(err error) bool {
	var e *o365.Error
	return errors.As(err, &e) && (e.Code == o365.CodeContentNotFound || e.Code == o365.CodeContentExpired)
}

// expired does not trust the local clock.
func (s *stream) expired(f *flight) bool {
	e := s.entry(f)
	return s.tenant.client.ClockKnown() && !e.Expires.IsZero() && s.now().After(e.Expires)
}

// transfer streams the blob's records into the queue, from the first that is not there yet.
func (s *stream) transfer(ctx context.Context, fetcher *fetcher, f *flight) error {
	e := s.entry(f)
	body, err := s.tenant.client.OpenBlob(ctx, o365.Blob{ContentType: s.contentType, ID: e.ID, URI: e.URI, Created: e.Created, Expires: e.Expires})
	if err != nil {
		return err
	}
	defer body.Close()

	source := &normalize.Source{Tenant: s.tenant.id, ContentType: string(s.contentType), Created: e.Created}
	fetcher.body = counted{Reader: body}
	defer func() { s.counts.readBytes.Add(fetcher.body.n) }()
	fetcher.reader.Reset(&fetcher.body)
	fetcher.buffer.Reset()
	for index := int64(0); ; index++ {
		record, err := fetcher.reader.Next()
		switch {
		case err == io.EOF:
			return s.put(ctx, fetcher, f, true)
		case err != nil:
			// What came whole is kept: the next try goes on behind it.
			return errors.Join(fmt.Errorf("reading blob %s: %w", e.ID, err), s.put(ctx, fetcher, f, false))
		case index < f.queued:
			continue
		}
		s.add(fetcher, index, func(dst []byte) ([]byte, normalize.Info) {
			if record.Problem != "" {
				return fetcher.encoder.AppendUnreadable(dst, record.Bytes, record.Problem, source), normalize.Info{Unreadable: record.Problem}
			}
			return s.encode(fetcher.encoder, dst, record.Bytes, source)
		})
		if len(fetcher.buffer.Bytes()) >= bufferSize {
			if err := s.put(ctx, fetcher, f, false); err != nil {
				return err
			}
		}
	}
}

// encode is AppendRecord, but that a panic costs one record its readability and not the blob.
func (s *stream) encode(encoder *normalize.Encoder, dst, record []byte, source *normalize.Source) (out []byte, info normalize.Info) {
	defer func() {
		if p := recover(); p != nil {
			s.c.stats.panics.Add(1)
			info = normalize.Info{Unreadable: fmt.Sprintf("internal error: %v", p)}
			out = encoder.AppendUnreadable(dst, record, info.Unreadable, source)
		}
	}()
	return encoder.AppendRecord(dst, record, source)
}

func (s *stream) add(fetcher *fetcher, index int64, event func(dst []byte) ([]byte, normalize.Info)) {
	data, info := event(fetcher.buffer.Bytes())
	r := handover.Record{Index: index, ID: s.c.queue.ID(info.ID).Of(s.tenant.salt)}
	if info.Unreadable != "" {
		s.counts.unreadable.Add(1)
	} else {
		r.Time = uint32(info.Time.Unix()) //nolint:gosec // as the event has it, which is checked to fit
	}
	fetcher.buffer.Add(data, r)
}

func (s *stream) put(ctx context.Context, fetcher *fetcher, f *flight, end bool) error {
	put, repeated, err := s.c.queue.Put(ctx, &fetcher.buffer, f, &f.queued, end)
	fetcher.buffer.Reset()
	s.counts.read.Add(put + repeated)
	s.counts.repeated.Add(repeated)
	return err
}

// landed leaves the flight busy: it is not fetched again.
func (s *stream) landed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = 0
}

// tryAgain lets the blob wait for its next turn, and all of them for a moment if the failure is hardly its own.
func (s *stream) tryAgain(f *flight, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.alert()
	if f.dropped.Load() { // the ledger is another flight's
		return
	}
	f.busy.Store(false)
	s.failed++
	if concernsAll(err) {
		s.hold = time.Now().Add(max(retryAfter(err), min(backoff(time.Second, s.failed), holdMost)))
	} else if s.failed >= holdAfter {
		s.hold = time.Now().Add(min(backoff(time.Second, s.failed-holdAfter), holdMost))
	}
	// This blob waits longer than the others, or the same few would always be first. Until the API's clock is known there is no
	// saying until when, in a way that holds.
	if !s.tenant.client.ClockKnown() {
		s.hold = later(s.hold, time.Now().Add(fetchBackoff))
		return
	}
	f.entry.Tries++
	f.entry.NotBefore = s.now().Add(max(retryAfter(err), min(backoff(fetchBackoff, f.entry.Tries), fetchBackoffMost))).Truncate(time.Millisecond)
	s.ledger.Update(f.entry)
	s.dropIfSettled(f)
}

// lose gives a blob up: logged, counted, announced, and then noted in the ledger.
func (s *stream) lose(ctx context.Context, f *flight, lost *atomic.Int64, err error) {
	e := s.entry(f)
	s.log.Error("blob lost: "+err.Error(), "content_id", e.ID, "content_created", e.Created, "records_delivered", f.queued)
	if s.tenant.announce(ctx, &normalize.Notice{
		Kind: noticeBlobLost, ContentType: string(s.contentType), ContentID: e.ID, From: e.Created, To: e.Expires, Reason: err.Error(),
	}, func() {
		_ = s.end(f, ledger.Lost)
		lost.Add(1)
		s.counts.lastLoss.set(time.Now())
	}) != nil {
		s.interrupted(f)
	}
}

// interrupted leaves a blob to the next start of the tenant, as its collecting has been stopped.
func (s *stream) interrupted(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.busy.Store(false)
	s.dropIfSettled(f)
}

func (s *stream) end(f *flight, state ledger.State) ledger.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.entry.State = state
	f.entry.URI = ""
	if f.dropped.Load() { // the ledger is another flight's
		return f.entry
	}
	s.ledger.Update(f.entry)
	s.flights.CompareAndDelete(f.entry.ID, f)
	return f.entry
}

// dropIfSettled forgets the flight of a blob that waits for its next try, once the ledger knows as much.
func (s *stream) dropIfSettled(f *flight) {
	if !f.busy.Load() && f.entry.Settled == f.queued {
		s.flights.CompareAndDelete(f.entry.ID, f)
	}
}
