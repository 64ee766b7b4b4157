package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"in_office365/plugin/ledger"
)

var (
	key = ledger.Key{Cloud: "enterprise", Tenant: "t", Application: "a", ContentType: "Audit.General"}
	t0  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func open(t *testing.T, path string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func entry(id string, age time.Duration) ledger.Entry {
	created := t0.Add(-age)
	return ledger.NewEntry(id, "https://manage.office.com/"+id, created, created.Add(7*24*time.Hour))
}

func ids(entries []ledger.Entry) (ids []string) {
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func none(string) bool { return false }

// Whatever is asked of a stream has the same answer before it is written, after, and in the next process.
func TestStreamAnswersAlikeBeforeAndAfterWriting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	l := open(t, path)
	s := l.Stream(key)
	if n := must[int](t)(s.Add([]ledger.Entry{entry("young", time.Hour), entry("old", 3*time.Hour), entry("late", 2*time.Hour)})); n != 3 {
		t.Fatalf("added %d", n)
	}
	late := entry("late", 2*time.Hour)
	late.Tries, late.NotBefore, late.Settled = 2, t0.Add(time.Minute), 17
	s.Update(late)
	done := entry("done", 4*time.Hour)
	done.State = ledger.Done
	s.Update(done)
	progress := ledger.Progress{Origin: t0.Add(-24 * time.Hour), Listed: t0}
	s.SetProgress(progress)

	answers := func(t *testing.T, s *ledger.Stream) {
		t.Helper()
		due, _, err := s.Due(t0, 10, none)
		if got := ids(due); err != nil || !slices.Equal(got, []string{"old", "young"}) {
			t.Errorf("due now: %v, %v", got, err)
		}
		due, _, err = s.Due(t0.Add(time.Minute), 10, none)
		if got := ids(due); err != nil || !slices.Equal(got, []string{"old", "late", "young"}) {
			t.Errorf("due in a minute: %v, %v", got, err)
		}
		_, next, err := s.Due(t0, 10, func(id string) bool { return id != "late" })
		if err != nil || !next.Equal(late.NotBefore) {
			t.Errorf("next turn at %v, %v", next, err)
		}
		if e, known, err := s.Get("late"); err != nil || !known || e != late {
			t.Errorf("late: %+v, %v, %v", e, known, err)
		}
		if n, err := s.Add([]ledger.Entry{entry("old", 3*time.Hour), entry("done", 4*time.Hour), entry("late", 2*time.Hour)}); n != 0 || err != nil {
			t.Errorf("added %d known blobs, %v", n, err)
		}
		if p, err := s.Progress(); err != nil || p != progress {
			t.Errorf("progress %+v, %v", p, err)
		}
	}
	t.Run("unwritten", func(t *testing.T) { answers(t, s) })
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Run("written", func(t *testing.T) { answers(t, s) })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("next process", func(t *testing.T) { answers(t, open(t, path).Stream(key)) })
}

func TestWhatIsNotFlushedIsForgottenByACrash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	l := open(t, path)
	s := l.Stream(key)
	must[int](t)(s.Add([]ledger.Entry{entry("a", 0)}))
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	a := entry("a", 0)
	a.State = ledger.Done
	s.Update(a)
	l.Close() // as a crash would leave it: nothing flushed
	if got := ids(firstOf3(open(t, path).Stream(key).Due(t0, 10, none))); !slices.Equal(got, []string{"a"}) {
		t.Errorf("due after the crash: %v", got)
	}
}

func firstOf3(e []ledger.Entry, _ time.Time, _ error) []ledger.Entry { return e }

// The API's address may change while blobs are pending.
func TestListingAgainRenewsTheURIOfAPendingBlob(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "db"))
	s := l.Stream(key)
	a := entry("a", time.Hour)
	a.Tries, a.Settled = 3, 40
	s.Update(a)
	moved := a
	moved.URI = "https://manage.example.com/a"
	for _, when := range []string{"unwritten", "written"} {
		if n := must[int](t)(s.Add([]ledger.Entry{ledger.NewEntry("a", moved.URI, a.Created, a.Expires)})); n != 0 {
			t.Errorf("%s: added %d", when, n)
		}
		if got, _, err := s.Get("a"); err != nil || got != moved {
			t.Errorf("%s: got %+v, %v", when, got, err)
		}
		s.Update(a)
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStreamsAreApart(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "db"))
	must[int](t)(l.Stream(key).Add([]ledger.Entry{entry("a", 0)}))
	for name, other := range map[string]ledger.Key{
		"cloud":        {Cloud: "gcc", Tenant: key.Tenant, Application: key.Application, ContentType: key.ContentType},
		"tenant":       {Cloud: key.Cloud, Tenant: "u", Application: key.Application, ContentType: key.ContentType},
		"application":  {Cloud: key.Cloud, Tenant: key.Tenant, Application: "b", ContentType: key.ContentType},
		"content type": {Cloud: key.Cloud, Tenant: key.Tenant, Application: key.Application, ContentType: "DLP.All"},
	} {
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, known, err := l.Stream(other).Get("a"); known || err != nil {
			t.Errorf("other %s knows it: %v", name, err)
		}
	}
}

// A backlog of new blobs must not keep those waiting that failed once: they may expire.
func TestRetriesAreNotStarvedByABacklog(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "db"))
	s := l.Stream(key)
	var backlog []ledger.Entry
	for i := range 1000 {
		backlog = append(backlog, entry(fmt.Sprintf("new-%04d", i), time.Duration(1000-i)*time.Minute))
	}
	must[int](t)(s.Add(backlog))
	again := entry("again", 0)
	again.NotBefore = t0.Add(-time.Second)
	s.Update(again)
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	due := firstOf3(s.Due(t0, 8, none))
	if len(due) != 8 || !slices.Contains(ids(due), "again") {
		t.Errorf("due: %v", ids(due))
	}
}

func TestForgetDropsOnlyWhatIsSettledAndOld(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "db"))
	s := l.Stream(key)
	for _, e := range []struct {
		id    string
		age   time.Duration
		state ledger.State
	}{{"old done", 8, ledger.Done}, {"old lost", 8, ledger.Lost}, {"old pending", 8, ledger.Pending}, {"new done", 6, ledger.Done}} {
		b := entry(e.id, e.age*24*time.Hour)
		b.State = e.state
		s.Update(b)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := must[int](t)(s.Forget(t0.Add(-7 * 24 * time.Hour))); n != 2 {
		t.Errorf("forgot %d", n)
	}
	for id, want := range map[string]bool{"old done": false, "old lost": false, "old pending": true, "new done": true} {
		if _, known, err := s.Get(id); known != want || err != nil {
			t.Errorf("%s known: %v, %v", id, known, err)
		}
	}
}

// damage makes what the file holds of the blob unreadable, under the hands of a ledger that has it open.
func damage(t *testing.T, path, id string, state ledger.State) {
	t.Helper()
	content := must[[]byte](t)(os.ReadFile(path))
	const version = 1
	value := append([]byte(id), version, byte(state)) // the value follows its key
	at := bytes.Index(content, value)
	if at < 0 {
		t.Fatalf("no entry of %s", id)
	}
	for ; at >= 0; at = bytes.Index(content, value) { // pages of before too
		content[at+len(id)] = 0xFF
	}
	f := must[*os.File](t)(os.OpenFile(path, os.O_WRONLY, 0))
	defer f.Close()
	must[int](t)(f.WriteAt(content, 0))
}

// An entry that cannot be read is that of a blob nobody knows: nothing fails for it, it is never taken for done, and when it is listed again it is
// pending like any other, and counted as new unless it had been pending.
func TestDamagedEntryIsCollectedAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		state ledger.State
		added int // when it is listed again
	}{
		"pending": {ledger.Pending, 0},
		"done":    {ledger.Done, 1},
		"lost":    {ledger.Lost, 1},
	} {
		for way, meet := range map[string]func(t *testing.T, l *ledger.Ledger, s *ledger.Stream){
			"listed at once": func(*testing.T, *ledger.Ledger, *ledger.Stream) {},
			"asked for what is due": func(t *testing.T, _ *ledger.Ledger, s *ledger.Stream) {
				due, _, err := s.Due(t0, 10, none)
				if got := ids(due); err != nil || !slices.Equal(got, []string{"other"}) {
					t.Errorf("due: %v, %v", got, err)
				}
			},
			"asked for": func(t *testing.T, _ *ledger.Ledger, s *ledger.Stream) {
				if _, known, err := s.Get("damaged"); known || err != nil {
					t.Errorf("known: %v, %v", known, err)
				}
			},
			"swept": func(t *testing.T, _ *ledger.Ledger, s *ledger.Stream) {
				must[int](t)(s.Forget(t0.Add(-7 * 24 * time.Hour)))
			},
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "db")
				l := open(t, path)
				s := l.Stream(key)
				e := entry("damaged", 2*time.Hour)
				e.State, e.NotBefore = test.state, t0.Add(-time.Minute)
				s.Update(e)
				s.Update(entry("other", time.Hour))
				flush := func() {
					t.Helper()
					if err := l.Flush(); err != nil {
						t.Fatal(err)
					}
				}
				flush()
				damage(t, path, "damaged", test.state)
				meet(t, l, s)

				if added := must[int](t)(s.Add([]ledger.Entry{entry("damaged", 2*time.Hour)})); added != test.added {
					t.Errorf("%d added, want %d", added, test.added)
				}
				if n := s.Unreadable(); n != 1 {
					t.Errorf("%d unreadable", n)
				}
				flush()
				if got := ids(firstOf3(s.Due(t0, 10, none))); !slices.Equal(got, []string{"damaged", "other"}) {
					t.Errorf("due: %v", got)
				}
				e.State, e.NotBefore = ledger.Done, time.Time{}
				s.Update(e)
				flush()
				if n, _, err := s.Pending(); n != 1 || err != nil || s.Unreadable() != 1 {
					t.Errorf("%d pending, %v, %d unreadable", n, err, s.Unreadable())
				}
				l.Close()
				if aside := open(t, path).SetAside(); aside != "" {
					t.Error("still damaged")
				}
			})
		}
	}
}

// What becomes of a blob while its entry is damaged is written all the same.
func TestDamagedEntryIsOverwritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	l := open(t, path)
	s := l.Stream(key)
	e := entry("damaged", time.Hour)
	s.Update(e)
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	damage(t, path, "damaged", ledger.Pending)
	e.State, e.URI = ledger.Done, ""
	s.Update(e)
	if err := l.Flush(); err != nil {
		t.Error(err)
	}
	if got, known, err := s.Get("damaged"); got != e || !known || err != nil {
		t.Errorf("%+v, %v, %v", got, known, err)
	}
	if n, _, err := s.Pending(); n != 0 || err != nil {
		t.Errorf("%d pending, %v", n, err)
	}
}

// An entry that is done has no address. One with an address was pending: it is not taken for done.
func TestPendingEntryDoesNotTurnIntoDone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	l := open(t, path)
	s := l.Stream(key)
	must[int](t)(s.Add([]ledger.Entry{entry("turned", time.Hour)}))
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	content := must[[]byte](t)(os.ReadFile(path))
	pending, done := []byte("turned\x01\x00"), []byte("turned\x01\x01")
	f := must[*os.File](t)(os.OpenFile(path, os.O_WRONLY, 0))
	defer f.Close()
	must[int](t)(f.WriteAt(bytes.ReplaceAll(content, pending, done), 0))
	if e, known, err := s.Get("turned"); known || err != nil || s.Unreadable() != 1 {
		t.Errorf("%+v, %v, %v, %d unreadable", e, known, err, s.Unreadable())
	}
}

func TestSecondHolderIsToldSo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	open(t, path)
	_, err := ledger.Open(path)
	var locked *ledger.LockedError
	if !errors.As(err, &locked) || !strings.Contains(err.Error(), "is in use by another process or another office365 input") {
		t.Errorf("second open: %v", err)
	}
}

func TestOpenErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                                 "is a directory: name a file",
		filepath.Join(dir, "no", "such.db"): "name a file in a directory that exists",
	} {
		if _, err := ledger.Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFileIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	open(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// Damage of any kind: the file is set aside, a new one begun, and nothing crashes.
func TestDamagedFileIsSetAside(t *testing.T) {
	t.Parallel()
	whole := filepath.Join(t.TempDir(), "db")
	l := open(t, whole)
	var blobs []ledger.Entry
	for i := range 500 {
		blobs = append(blobs, entry(fmt.Sprintf("%04d", i), time.Duration(i)*time.Minute))
	}
	must[int](t)(l.Stream(key).Add(blobs))
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	content := must[[]byte](t)(os.ReadFile(whole))
	used := usedBytes(t, whole)
	page := os.Getpagesize()

	damage := map[string]func() []byte{
		"all zeros":     func() []byte { return make([]byte, len(content)) },
		"not a ledger":  func() []byte { return []byte(strings.Repeat("no ledger\n", 4096)) },
		"a few bytes":   func() []byte { return content[:100] },
		"zeroed middle": func() []byte { c := slices.Clone(content); clear(c[4*page : used]); return c },
		"entries of an unknown version": func() []byte {
			return bytes.ReplaceAll(content, []byte("\x01\x00\x80"), []byte("\x09\x00\x80"))
		},
	}
	// Where bbolt itself would read for ever, and where it would read what is not there, in a goroutine of its own.
	hasBranch := false
	for n := 2 * page; n < used; n += page {
		const branch, firstElement = 1, 16
		if binary.NativeEndian.Uint16(content[n+8:]) != branch {
			continue
		}
		hasBranch = true
		damage["branch below itself"] = func() []byte {
			c := slices.Clone(content)
			binary.NativeEndian.PutUint64(c[n+firstElement+8:], uint64(n/page))
			return c
		}
		damage["key outside of the file"] = func() []byte {
			c := slices.Clone(content)
			binary.NativeEndian.PutUint32(c[n+firstElement:], 1<<31)
			return c
		}
	}
	damage["nothing"] = func() []byte { return nil }
	if !hasBranch {
		t.Fatal("no branch page")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		damage[fmt.Sprint("random bytes ", i)] = func() []byte {
			c := slices.Clone(content)
			for range 64 {
				c[rng.IntN(used)] = byte(rng.Uint32())
			}
			return c
		}
	}
	for n := page; n < used; n += page {
		damage[fmt.Sprintf("cut after %d pages", n/page)] = func() []byte { return content[:n] }
	}
	for name, damaged := range damage {
		broken := damaged()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "db")
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			l := open(t, path)
			if l.SetAside() == "" {
				if !strings.HasPrefix(name, "random") { // some bytes are free, or part of an address
					t.Error("taken for whole")
				}
			} else if _, err := os.Stat(l.SetAside()); err != nil {
				t.Error(err)
			}
			must[int](t)(l.Stream(key).Add(blobs))
			if _, _, err := l.Stream(key).Due(t0, 10, none); err != nil {
				t.Error(err)
			}
			if err := l.Flush(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a power cut may leave of the last transaction: any of its pages missing or zero. Either that is noticed, or everything is as it was after
// this transaction or the one before.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole := filepath.Join(dir, "db")
	l := open(t, whole)
	s := l.Stream(key)
	var states []string
	var blobs []ledger.Entry
	flush := func() {
		t.Helper()
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		states = append(states, dump(t, l, blobs))
	}
	for i := range 150 {
		e := entry(fmt.Sprintf("20260301%09d$audit_general$Audit_General$emea0001", i), time.Duration(i)*time.Hour)
		if i%30 == 0 {
			e.URI += strings.Repeat("/long", 2000) // takes pages of its own
		}
		blobs = append(blobs, e)
	}
	for some := range slices.Chunk(blobs, 50) {
		must[int](t)(s.Add(some))
		flush()
	}
	for i := 25; i < 150; i += 2 {
		blobs[i].State = ledger.Done
		blobs[i].URI = ""
		s.Update(blobs[i])
	}
	flush()
	if must[int](t)(s.Forget(t0.Add(-4*24*time.Hour))) == 0 {
		t.Fatal("nothing to forget")
	}
	flush() // what Forget has written: there are free pages now
	for i := range 20 {
		blobs[i].Tries++
		s.Update(blobs[i])
	}
	s.SetProgress(ledger.Progress{Origin: t0.Add(-time.Hour), Listed: t0})
	flush()
	l.Close()
	content, used, page := must[[]byte](t)(os.ReadFile(whole)), usedBytes(t, whole), os.Getpagesize()

	try := func(name string, mayBeWhole bool, damaged []byte) (taken bool) {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, path)
		defer l.Close()
		switch {
		case l.SetAside() != "":
			if kept, err := os.ReadFile(l.SetAside()); err != nil || !bytes.Equal(kept, damaged) {
				t.Errorf("%s: set aside, but not as it was: %v", name, err)
			}
			os.Remove(l.SetAside())
		case !mayBeWhole:
			t.Errorf("%s: taken for whole", name)
		case !slices.Contains(states[len(states)-2:], dump(t, l, blobs)):
			t.Errorf("%s: taken for whole, and what it holds never was", name)
		}
		s := l.Stream(key)
		must[int](t)(s.Add(blobs))
		if err := l.Flush(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return l.SetAside() == ""
	}
	taken, free := 0, 0
	for n := range used / page {
		one, rest := slices.Clone(content), slices.Clone(content)
		clear(one[n*page : (n+1)*page])
		clear(rest[n*page:])
		if try(fmt.Sprint("page zeroed ", n), true, one) {
			taken++
		}
		if try(fmt.Sprint("zeros from ", n), true, rest) {
			free++
		}
		try(fmt.Sprint("cut at ", n), false, content[:n*page])
	}
	t.Logf("%d pages; noticed that one was zeroed: %d times, that all from one on were: %d times, that they were missing: each time",
		used/page, used/page-taken, used/page-free)
	if taken > used/page*2/3 || free > taken {
		t.Error("most of them are free: that tests nothing")
	}
	try("cut behind the last", true, content[:used])
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A bit that has turned is noticed, or leaves a ledger that can be read and written: nothing panics, nothing hangs.
func TestTurnedBits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole := filepath.Join(dir, "db")
	l := open(t, whole)
	var blobs []ledger.Entry
	for i := range 200 {
		blobs = append(blobs, entry(fmt.Sprintf("%04d", i), time.Duration(i)*time.Minute))
	}
	for some := range slices.Chunk(blobs, 50) {
		must[int](t)(l.Stream(key).Add(some))
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	content, used, page := must[[]byte](t)(os.ReadFile(whole)), usedBytes(t, whole), os.Getpagesize()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	noticed, tries := 0, 0
	for n := range used / page {
		for i := range 12 {
			at := n * page
			if i < 9 {
				at += rng.IntN(256) // the headers and the elements, where addresses are
			} else {
				at += rng.IntN(page)
			}
			damaged, bit := slices.Clone(content[:used]), byte(1)<<rng.IntN(8)
			damaged[at] ^= bit
			path := filepath.Join(dir, fmt.Sprint(n, "-", i))
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			l := open(t, path)
			tries++
			noticed += count(l.SetAside() != "")
			dump(t, l, blobs)
			must[int](t)(l.Stream(key).Add(blobs))
			if err := l.Flush(); err != nil {
				t.Errorf("byte %d, bit %d: %v", at, bit, err)
			}
			l.Close()
			os.Remove(path)
		}
	}
	t.Logf("%d of %d noticed", noticed, tries)
}

// dump is all that a ledger knows of a stream with these blobs.
func dump(t *testing.T, l *ledger.Ledger, blobs []ledger.Entry) string {
	t.Helper()
	var b strings.Builder
	due, next, err := l.Stream(key).Due(t0.Add(1000*time.Hour), 1<<20, none)
	if err != nil {
		t.Error(err)
	}
	progress, err := l.Stream(key).Progress()
	if err != nil {
		t.Error(err)
	}
	fmt.Fprintln(&b, next, progress)
	for _, e := range due {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	for _, blob := range blobs {
		e, known, err := l.Stream(key).Get(blob.ID)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(&b, "%v %+v\n", known, e)
	}
	return b.String()
}

func usedBytes(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error { n = int(tx.Size()); return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// An address with a NUL, which no API should give, is not taken for damage.
func TestAddressWithANulIsNoDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	l := open(t, path)
	s := l.Stream(key)
	must[int](t)(s.Add([]ledger.Entry{ledger.NewEntry("a", "https://api.example.com/\x00", time.Now(), time.Now())}))
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = open(t, path)
	if aside := l.SetAside(); aside != "" {
		t.Errorf("set aside to %s", aside)
	}
	due, _, err := l.Stream(key).Due(time.Now(), 1, none)
	if err != nil || len(due) != 1 || due[0].URI != "https://api.example.com/%00" {
		t.Errorf("due %v, %v", due, err)
	}
}

func TestPendingCountsWhatIsNeitherDoneNorLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	l := open(t, path)
	s := l.Stream(key)
	var wrote []error
	l.OnWrite = func(_ time.Duration, err error) { wrote = append(wrote, err) }
	want := func(when string, n int64, oldest time.Time) {
		t.Helper()
		got, since, err := s.Pending()
		if err != nil || got != n || !since.Equal(oldest) {
			t.Errorf("%s: %d pending, the oldest of %v, %v; want %d, %v", when, got, since, err, n, oldest)
		}
	}
	flush := func() {
		t.Helper()
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	want("a new stream", 0, time.Time{})

	young, old, oldest := entry("young", time.Hour), entry("old", 2*time.Hour), entry("oldest", 3*time.Hour)
	must[int](t)(s.Add([]ledger.Entry{young, old, oldest}))
	want("listed", 3, oldest.Created)
	flush()
	want("listed and written", 3, oldest.Created)

	oldest.State = ledger.Done
	s.Update(oldest)
	old.NotBefore = old.Created.Add(time.Minute)
	s.Update(old)
	want("one is done, one waits", 2, old.Created)
	flush()
	want("and that is written", 2, old.Created)

	young.State, old.State = ledger.Lost, ledger.Done
	s.Update(young)
	s.Update(old)
	want("all have ended", 0, time.Time{})
	flush()
	want("and that is written", 0, time.Time{})
	flush()
	if len(wrote) != 3 {
		t.Errorf("told of %d writes, want the 3 that had something to write: %v", len(wrote), wrote)
	}
	if size, err := l.Size(); err != nil || size < 4096 || l.Unwritten() != 0 {
		t.Errorf("size %d, %v, unwritten %d", size, err, l.Unwritten())
	}
}
