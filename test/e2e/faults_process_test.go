package e2e

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"in_office365/test/host/hosttest"
	"in_office365/test/tenant"
)

const settledAtStop = "everything had settled at the stop"

func downtimeOf25Hours(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	x.start()
	x.wait()
	x.waitSettled()
	x.stop()
	x.tenant.SetSkew(25 * time.Hour)
	x.offer(50, 3, x.ago(25*time.Hour), x.ago(time.Minute))
	x.offer(1, 3, x.ago(30*time.Hour), x.ago(30*time.Hour)) // late ones, from before the stop
	x.start()
	x.wait()
	x.stop()
	x.others(hitAlike)
	x.account(0, settledAtStop)
	return x
}

// What became available in the first of the eight days is gone from the API, and so is a blob that was listed and could not be fetched.
func downtimeOf8Days(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.keys["poll_interval"] = "1h" // one poll in each run
	x.offer(6, 3, x.ago(6*day), x.ago(time.Minute))
	lost := x.offerBlob(tenant.Exchange, x.ago(time.Hour), 5)
	fault := x.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: lost}, tenant.Answer(503, ""))
	x.start()
	x.othersArrive(tenant.Exchange)
	x.waitFor(tenant.Exchange, 6*3)
	until(t, "a fetch that fails", func() bool { return fault.Hits() > 0 })
	x.waitSettledBut(lost)
	x.stop()
	before := listedSpans(x.tenant.Account().Listings)
	n := len(x.tenant.Account().Listings)

	fault.Remove() // the blob has expired by then
	x.tenant.SetSkew(8 * day)
	x.offer(64, 3, x.ago(8*day), x.ago(time.Minute))
	x.start()
	for _, contentType := range tenant.ContentTypes() {
		x.waitForNotice("gap", contentType)
		listed := listedSpans(x.tenant.Account().Listings[n:])[contentType]
		still := 0
		for _, b := range x.tenant.Account().Blobs {
			if b.ContentType == contentType && !b.Created.Before(listed.from) {
				still += b.Source.Count()
			}
		}
		if still == 0 {
			x.Errorf("nothing of %s can still be had", contentType)
		}
		x.waitFor(contentType, 6*3+still)
	}
	x.waitForNotice("blob_lost", tenant.Exchange)
	x.waitSettledBut(lost)
	x.stop()
	after := listedSpans(x.tenant.Account().Listings[n:])
	for i, gap := range x.wantNotice("gap", tenant.ContentTypes()...) {
		contentType := tenant.ContentTypes()[i]
		from, to := noticeTime(t, gap, "from"), noticeTime(t, gap, "to")
		if !from.Equal(before[contentType].to) || !to.Equal(after[contentType].from) {
			x.Errorf("%s: announced as a gap from %s to %s, while the last listing before ended at %s and the first one after began at %s",
				contentType, from, to, before[contentType].to, after[contentType].from)
		}
		if edge := x.ago(7*day - 10*time.Minute); after[contentType].from.After(edge) {
			x.Errorf("%s: listed from %s on, while the API still had what came after %s", contentType, after[contentType].from, edge)
		}
	}
	x.wantNotice("blob_lost", tenant.Exchange)
	x.wantCounter("gaps", len(tenant.ContentTypes()))
	x.wantCounter("blobs_lost", 1)
	x.wantLog("gap: the API no longer lists what became available then")
	x.wantLog("blob lost: fetch blob: HTTP 410 Gone: AF20051")
	x.others(hitAlikeWithin)
	x.account(0, settledAtStop)
	return x
}

type span struct{ from, to time.Time }

// listedSpans are from where to where each content type was listed.
func listedSpans(listings []tenant.Listing) map[string]span {
	spans := map[string]span{}
	for _, l := range listings {
		s, known := spans[l.ContentType]
		if !known || l.Start.Before(s.from) {
			s.from = l.Start
		}
		if l.End.After(s.to) {
			s.to = l.End
		}
		spans[l.ContentType] = s
	}
	return spans
}

func killedBeforeHandOver(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(6, 20, x.ago(6*day), x.ago(time.Minute))
	x.start("--interval-ms", "3600000") // it takes nothing
	until(t, "every blob to be fetched", func() bool {
		for _, b := range x.tenant.Account().Blobs {
			if b.Whole == 0 {
				return false
			}
		}
		return true
	})
	if s := x.host.Stats(); s.Callbacks > 0 {
		x.Errorf("the host has asked %d times", s.Callbacks)
	}
	x.kill()
	x.start()
	x.wait()
	x.stop()
	x.others(hitAlike)
	x.account(0, "nothing had been handed over")
	return x
}

func killedBeforeSettling(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(6, 20, x.ago(6*day), x.ago(time.Minute))
	x.start()
	x.wait()
	x.waitSettled()
	x.stop()

	x.keys["settle"] = "10m"
	x.offer(3, 20, x.ago(10*time.Minute), x.ago(time.Minute))
	x.start()
	x.wait()
	x.waitPolls(3) // time to write down what is not true yet
	x.kill()
	bound := x.unsettled()
	if want := 3 * 20 * len(tenant.ContentTypes()); bound != want {
		x.Errorf("%d records are not settled, want %d: those of the last run", bound, want)
	}
	x.start()
	x.waitForRepeats(bound)
	x.stop()
	x.others(hitAlike)
	x.account(bound, "handed over, not settled at the kill")
	return x
}

// waitForRepeats waits until so many records have come again, for a run whose records have all arrived before.
func (x *trial) waitForRepeats(n int) {
	x.Helper()
	until(x.T, "the repeats", func() bool {
		x.update()
		return x.total-len(x.arrived) >= n
	})
}

// waitPolls waits until the content types have been listed up to now so many times. Once a second is as often as that comes.
func (x *trial) waitPolls(n int) {
	x.Helper()
	begun := x.tenant.Now()
	until(x.T, "some polls", func() bool {
		polls := 0
		for _, l := range x.tenant.Account().Listings {
			if l.Page == 1 && !l.End.Before(begun) {
				polls++
			}
		}
		return polls >= n*len(tenant.ContentTypes())
	})
}

// clockOff is a run while the local clock is off by so much; it is the tenant's that is moved.
func clockOff(t *testing.T, by time.Duration) *trial {
	c := subscribed()
	c.Skew = -by
	x := newTrial(t, c)
	x.offer(24, 3, x.ago(7*day-7*time.Minute), x.ago(time.Second)) // the oldest a local clock that is behind would leave out
	x.start()
	x.wait()
	x.offer(2, 3, x.ago(2*time.Second), x.ago(time.Second))
	x.wait()
	x.stop()
	a := x.tenant.Account()
	for op, statuses := range a.Statuses {
		for status, n := range statuses {
			if status/100 == 4 {
				x.Errorf("%d calls of %s were answered %d", n, op, status)
			}
		}
	}
	for _, l := range a.Listings {
		if l.End.After(x.tenant.Now()) {
			x.Errorf("listed up to %s, which is in the future", l.End)
		}
	}
	x.others(hitAlike)
	x.wantCounter("list_failures", 0)
	x.account(0, oneRun)
	return x
}

func clockAhead(t *testing.T) *trial  { return clockOff(t, 10*time.Minute) }
func clockBehind(t *testing.T) *trial { return clockOff(t, -10*time.Minute) }

// While the host is paused its ring is not emptied, however long that takes: what is in it when it dies has not arrived. The pause
// lasts several times settle here, which is what counts, and not minutes.
func pausedThenKilled(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.keys["batch_size"], x.keys["buffer_size"] = "64K", "256K"
	x.offer(6, 20, x.ago(6*day), x.ago(time.Minute))
	x.start()
	x.wait()
	x.waitSettled()
	settled := len(x.arrived)
	x.offer(80, 40, x.ago(50*time.Minute), x.ago(time.Minute))
	until(t, "some of what comes then", func() bool {
		x.update()
		return len(x.arrived) > settled+1000
	})
	var paused hosttest.Stats
	until(t, "a pause with something in the ring", func() bool {
		x.host.Send("pause")
		if paused = x.host.Stats(); paused.WaitingBatches > 0 {
			return true
		}
		x.host.Send("resume")
		return false
	})
	x.waitPolls(4) // several times settle
	if s := x.host.Stats(); s.WaitingBatches == 0 || s.Records != paused.Records {
		x.Errorf("the ring was emptied in the pause: %+v, then %+v", paused, s)
	}
	x.kill()
	bound := x.unsettled()
	if n := len(x.arrived) - settled; bound == 0 || bound > n {
		x.Errorf("%d records are not settled, while %d have arrived since everything was", bound, n)
	}
	x.start()
	x.wait()
	x.stop()
	x.others(hitAlike)
	x.account(bound, "handed over, not settled at the kill")
	return x
}

// startWithLimitableFiles starts a host that a limit of the size of its files (RLIMIT_FSIZE) will not end: the signal that goes with it is
// ignored, and the output goes through a pipe.
func (x *trial) startWithLimitableFiles() {
	x.Helper()
	open := func(path string, flag int) *os.File {
		f, err := os.OpenFile(path, flag, 0o600)
		if err != nil {
			x.Fatal(err)
		}
		x.Cleanup(func() { f.Close() })
		return f
	}
	pipe := filepath.Join(x.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		x.Fatal(err)
	}
	in := open(pipe, os.O_RDONLY|syscall.O_NONBLOCK) // else it would wait for a host that may never come so far
	hold := open(pipe, os.O_WRONLY)                  // the pipe ends when both this and the host's end are closed
	x.startAs("/bin/sh", []string{"-c", `trap "" XFSZ; exec "$0" "$@"`, testHost}, "--output", pipe)
	out := open(x.out, os.O_CREATE|os.O_WRONLY)
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(out, in)
		copied <- err
	}()
	x.piped = func() error {
		hold.Close()
		return <-copied
	}
}

// limitFiles lets the files of the host grow to that size and no further: the disk is full. Less than 0 is the end of that.
func (x *trial) limitFiles(size int64) {
	x.Helper()
	var limit syscall.Rlimit
	prlimit := func(set, get *syscall.Rlimit) {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(x.host.Pid()), syscall.RLIMIT_FSIZE,
			uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 0, 0)
		if errno != 0 {
			x.Fatal("prlimit:", errno)
		}
	}
	prlimit(nil, &limit)
	if limit.Cur = limit.Max; size >= 0 {
		limit.Cur = uint64(size)
	}
	prlimit(&limit, nil)
}

// diskFull is a run in which the ledger can be written no more while much arrives.
func diskFull(t *testing.T) *trial {
	x := newTrial(t, subscribed())
	x.offer(3, 3, x.ago(6*day), x.ago(time.Minute))
	x.startWithLimitableFiles()
	x.wait()
	x.waitSettled()
	info, err := os.Stat(filepath.Join(x.dir, "office365.db"))
	if err != nil {
		t.Fatal(err)
	}
	x.limitFiles(info.Size())
	x.offer(200, 2, x.ago(50*time.Minute), x.ago(time.Minute))
	x.wait()
	x.waitForNotice("ledger_unwritable", "")
	return x
}

func diskFullThenFree(t *testing.T) *trial {
	x := diskFull(t)
	x.limitFiles(-1)
	x.waitSettled()
	x.stop()
	x.start()
	x.offer(1, 3, x.ago(time.Minute), x.ago(time.Minute))
	x.wait()
	x.stop()
	x.others(hitAlike)
	x.wantLog("writing the db failed: writing the ledger: ")
	x.wantNotice("ledger_unwritable", "")
	x.account(0, "the ledger was written when the disk was free")
	return x
}

func diskFullUntilAKill(t *testing.T) *trial {
	x := diskFull(t)
	x.kill()
	bound := x.unsettled()
	// What the file has free pages for can still be written.
	if most := 200 * 2 * len(tenant.ContentTypes()); bound == 0 || bound > most {
		x.Errorf("%d records are not settled, want 1 to %d: those since the disk was full", bound, most)
	}
	x.start()
	x.waitForRepeats(bound)
	x.stop()
	x.others(hitAlike)
	x.wantLog("writing the db failed: writing the ledger: ")
	x.wantNotice("ledger_unwritable", "")
	x.account(bound, "handed over while the disk was full")
	return x
}

// What may have become of a ledger: bits have turned in its first half, meta pages among them; and what a power cut leaves.
func halfSpoilt(content []byte) []byte {
	for i := range len(content) / 2 {
		content[i] ^= 0x55
	}
	return content
}

func cut(content []byte) []byte { return content[:4*os.Getpagesize()] }

func zeros(content []byte) []byte {
	clear(content[4*os.Getpagesize():])
	return content
}

func emptied([]byte) []byte { return nil }

// ledgerDamaged is a run after which that becomes of the ledger, and one that sets it aside.
func ledgerDamaged(damage func(content []byte) []byte) func(*testing.T) *trial {
	return func(t *testing.T) *trial {
		x := newTrial(t, subscribed())
		x.offer(10, 5, x.ago(6*day), x.ago(time.Minute))
		x.start()
		x.wait()
		x.waitSettled()
		x.stop()
		db := filepath.Join(x.dir, "office365.db")
		content, err := os.ReadFile(db)
		if err != nil {
			t.Fatal(err)
		}
		damaged := damage(bytes.Clone(content))
		if err := os.WriteFile(db, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		bound := len(x.arrived)
		x.offer(2, 5, x.ago(10*time.Minute), x.ago(time.Minute))
		x.start()
		x.waitForRepeats(bound)
		x.wait()
		x.waitForNotice("ledger_reset", "")
		x.stop()
		aside, err := filepath.Glob(db + ".damaged-*")
		if err != nil || len(aside) != 1 {
			t.Fatalf("set aside: %v %v", aside, err)
		}
		if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, damaged) {
			x.Errorf("what is set aside is not what was there: %v", err)
		}
		x.others(hitAlike)
		x.wantLog("the db is damaged and has been set aside")
		x.wantNotice("ledger_reset", "")
		x.account(bound, "all that the API still has, once")
		return x
	}
}
