package collector_test

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"in_office365/plugin/collector"
	"in_office365/plugin/config"
	"in_office365/test/events"
	"in_office365/test/logbuffer"
	"in_office365/test/tenant"
)

// heap is batch memory of the Go kind, with an account.
type heap struct {
	mu   sync.Mutex
	live map[*byte]bool
	most int
	held int
}

func (h *heap) Alloc(n int) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := make([]byte, n)
	h.live[unsafe.SliceData(b)] = true
	h.held += n
	h.most = max(h.most, h.held)
	return b
}

func (h *heap) Free(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.live[unsafe.SliceData(b)] {
		panic("freed what was not allocated")
	}
	delete(h.live, unsafe.SliceData(b))
	h.held -= len(b)
}

type stanza map[string]string

func (s stanza) Get(key string) string { return s[key] }

// world is a tenant, a host, and the plugin's state between runs. It lives in a synctest bubble, where time is fake.
type world struct {
	t         *testing.T
	tenant    *tenant.Tenant
	transport http.RoundTripper
	keys      stanza
	memory    *heap
	log       logbuffer.Buffer
	delivered map[string]int            // by o365_id
	notices   map[string]int            // by kind
	gaps      []gap                     // those announced
	unread    int                       // records with o365_error
	of        map[string]map[string]int // records by o365_tenant and o365_id, notices by o365_tenant and kind
}

type gap struct{ from, to time.Time }

// inWorld runs the test in a bubble whose first hour is over, so that there is a past to list.
func inWorld(t *testing.T, c tenant.Config, test func(w *world)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(10 * 24 * time.Hour)
		w := &world{
			t: t, tenant: tenant.New(c), memory: &heap{live: map[*byte]bool{}},
			delivered: map[string]int{}, notices: map[string]int{}, of: map[string]map[string]int{},
		}
		w.transport = w.tenant.RoundTripper()
		w.keys = stanza{
			"tenant_id": tenant.DefaultID, "client_id": tenant.DefaultClientID, "client_secret": tenant.DefaultClientSecret,
			"authentication_endpoint": "https://login.example.com", "api_endpoint": "https://api.example.com",
			"db": filepath.Join(dir, "office365.db"), "rate_limit": "100000/m",
		}
		test(w)
	})
}

func (w *world) open() *collector.Collector {
	w.t.Helper()
	cfg, err := config.Parse(w.keys)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := collector.New(cfg, collector.Options{
		Log:       slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Memory:    w.memory,
		Version:   "test",
		Transport: w.transport,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// take is one call of the host's callback and of its cleanup callback.
func (w *world) take(c *collector.Collector) bool {
	w.t.Helper()
	batch := c.Take()
	if batch == nil {
		return false
	}
	got, err := events.Decode(batch)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range got {
		of, _ := e.Body["o365_tenant"].(string)
		if w.of[of] == nil {
			w.of[of] = map[string]int{}
		}
		w.of[of][e.ID()+e.Notice()]++
		switch {
		case e.Notice() != "":
			w.notices[e.Notice()]++
			if e.Notice() == "gap" {
				w.gaps = append(w.gaps, gap{w.noticeTime(e, "from"), w.noticeTime(e, "to")})
			}
		case e.Body["o365_error"] != nil:
			w.unread++
		default:
			w.delivered[e.ID()]++
		}
	}
	c.Release(unsafe.Pointer(unsafe.SliceData(batch)))
	return true
}

func (w *world) noticeTime(e events.Event, key string) time.Time {
	w.t.Helper()
	text, _ := e.Body["o365_notice_"+key].(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}

// run collects for a time with a host that calls every second.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	c := w.open()
	c.Start()
	w.host(c, d)
	w.stop(c)
}

func (w *world) host(c *collector.Collector, d time.Duration) {
	w.t.Helper()
	for range d / time.Second {
		time.Sleep(time.Second)
		w.take(c)
	}
}

func (w *world) stop(c *collector.Collector) {
	w.t.Helper()
	begun := time.Now()
	c.Stop()
	if d := time.Since(begun); d > time.Second {
		w.t.Errorf("stopping took %s", d)
	}
	if n := len(w.memory.live); n != 0 {
		w.t.Errorf("%d batches were not freed", n)
	}
}

// verdict compares what the tenant has offered with what has arrived.
func (w *world) verdict(mostRepeated int) {
	w.t.Helper()
	missing, repeated, offered := 0, 0, 0
	for _, ct := range tenant.ContentTypes() {
		for id := range w.tenant.Account().RecordIDs(ct) {
			offered++
			if w.delivered[id] == 0 {
				missing++
			}
		}
	}
	for _, n := range w.delivered {
		repeated += n - 1
	}
	if missing > 0 || repeated > mostRepeated || offered == 0 {
		w.t.Errorf("of %d records %d are missing and %d came again (at most %d may)", offered, missing, repeated, mostRepeated)
	}
	if w.t.Failed() {
		w.t.Logf("notices: %v\nlog:\n%s", w.notices, lastLines(w.log.String(), 30))
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (w *world) wantNotices(want ...string) {
	w.t.Helper()
	if got := slices.Sorted(maps.Keys(w.notices)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		w.t.Errorf("notices %v, want %v", w.notices, want)
	}
}

func (w *world) wantLog(text string) {
	w.t.Helper()
	if !strings.Contains(w.log.String(), text) {
		w.t.Errorf("no %q in the log:\n%s", text, lastLines(w.log.String(), 30))
	}
}

func ago(d time.Duration) time.Time { return time.Now().UTC().Add(-d) }

var subscribed = tenant.Config{Subscribed: tenant.ContentTypes()}

// lastWeek offers blobs of every type, spread over the last six days.
func (w *world) lastWeek(blobs, records int) {
	w.tenant.Publish(tenant.Plan{Blobs: blobs, Records: records, From: ago(6 * 24 * time.Hour), To: ago(time.Minute), Seed: 7})
}

func TestFirstRunBringsEveryRecordOnce(t *testing.T) {
	inWorld(t, tenant.Config{PageSize: 7}, func(w *world) {
		w.lastWeek(40, 25)
		w.run(5 * time.Minute)
		w.verdict(0)
		w.wantNotices("subscription_started")
		if n := w.notices["subscription_started"]; n != 5 {
			t.Errorf("%d of 5 starts announced", n)
		}
	})
}

func TestNewBlobsFollow(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		c := w.open()
		c.Start()
		for i := range 120 {
			w.tenant.AddBlob(tenant.General, time.Now(), tenant.Generated{Seed: 3, First: uint64(i) * 10, Records: 10})
			w.host(c, time.Minute)
		}
		w.host(c, 2*time.Minute)
		w.stop(c)
		w.verdict(0)
		w.wantNotices()
	})
}

// Each single fault, or stroke of bad luck: nothing is missing, and what has to be announced is.
func TestFaults(t *testing.T) {
	blob := func(ct string) tenant.Fault { return tenant.Fault{Operation: tenant.FetchBlob, ContentType: ct} }
	for name, tc := range map[string]struct {
		tenant   tenant.Config
		run      func(w *world)
		dedup    bool // what is to be shown needs it; else it would hide that records are queued twice
		repeated int
		notices  []string
	}{
		"listing of many pages": {
			tenant: tenant.Config{Subscribed: tenant.ContentTypes(), PageSize: 1, LowerCaseNextPage: true},
			run:    func(w *world) { w.lastWeek(30, 2); w.run(2 * time.Minute) },
		},
		"second page fails once": {
			tenant: tenant.Config{Subscribed: tenant.ContentTypes(), PageSize: 5},
			run: func(w *world) {
				w.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, Page: 2, Times: 3}, tenant.AnswerError(500, "AF50000", "internal"))
				w.lastWeek(60, 2)
				w.run(10 * time.Minute)
			},
		},
		"second page is missing for a while": {
			tenant: tenant.Config{Subscribed: tenant.ContentTypes(), PageSize: 5},
			run: func(w *world) {
				w.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, Page: 1, Times: 200}, tenant.NoNextPage())
				w.tenant.Publish(tenant.Plan{Blobs: 60, Records: 2, From: ago(12 * time.Hour), To: ago(time.Minute)})
				w.run(3 * time.Hour)
			},
		},
		"NextPageUri leads to itself": {
			tenant: tenant.Config{Subscribed: tenant.ContentTypes(), PageSize: 5},
			run: func(w *world) {
				w.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, Page: 1, Times: 5}, tenant.NextPageLoop())
				w.lastWeek(20, 2)
				w.run(10 * time.Minute)
			},
		},
		"blobs that appear late, behind newer ones": {
			tenant: subscribed,
			run: func(w *world) {
				w.keys["poll_interval"] = "10m"
				c := w.open()
				c.Start()
				w.tenant.Publish(tenant.Plan{
					Blobs: 20, Records: 2, From: time.Now(), To: time.Now().Add(time.Hour), LateEvery: 3, LateBy: 50 * time.Minute,
				})
				w.tenant.Add(tenant.Content{
					ContentType: tenant.General, Created: time.Now(), Visible: time.Now().Add(20 * time.Hour),
					Source: tenant.Generated{Seed: 99, Records: 3},
				})
				w.host(c, 22*time.Hour)
				w.stop(c)
			},
		},
		"equal contentCreated at a window's border": {
			tenant: subscribed,
			run: func(w *world) {
				border := ago(23 * time.Hour).Truncate(time.Second)
				for i, at := range []time.Time{border, border, border.Add(-time.Millisecond), border.Add(time.Millisecond)} {
					w.tenant.AddBlob(tenant.DLP, at, tenant.Generated{Seed: uint64(i), Records: 2})
				}
				w.run(2 * time.Minute)
			},
		},
		"AF429 as 403 on a blob": {
			tenant: subscribed,
			run: func(w *world) {
				f := blob(tenant.Exchange)
				f.Times = 2
				w.tenant.Inject(f, tenant.Throttle(403, 0))
				w.lastWeek(5, 5)
				w.run(30 * time.Minute)
			},
			notices: []string{"throttled"},
		},
		"5xx on one blob of many": {
			tenant: subscribed,
			run: func(w *world) {
				w.lastWeek(20, 3)
				id := w.tenant.AddBlob(tenant.General, ago(time.Hour), tenant.Generated{Seed: 5, Records: 9})
				w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id, Times: 6}, tenant.AnswerError(503, "", ""))
				w.run(time.Hour)
			},
		},
		"connection cut in mid-blob, at many places": {
			tenant: tenant.Config{Subscribed: tenant.ContentTypes(), Seed: 1},
			run: func(w *world) {
				for _, at := range []int64{1, 700, 5_000, 40_000, 100_000} {
					f := blob("")
					f.Times, f.Probability = 10, 0.3
					w.tenant.Inject(f, tenant.CutConnection(at))
				}
				w.lastWeek(10, 100)
				w.run(3 * time.Hour)
			},
		},
		"body ends early, and looks whole": {
			tenant: subscribed,
			run: func(w *world) {
				f := blob(tenant.SharePoint)
				f.Times = 3
				w.tenant.Inject(f, tenant.EndEarly(30_000))
				w.lastWeek(3, 100)
				w.run(time.Hour)
			},
		},
		"gzip broken": {
			tenant: tenant.Config{Subscribed: tenant.ContentTypes(), Gzip: true},
			run: func(w *world) {
				f := blob(tenant.SharePoint)
				f.Times = 3
				w.tenant.Inject(f, tenant.BreakGzip(2_000))
				w.lastWeek(3, 100)
				w.run(time.Hour)
			},
		},
		"an HTML page instead of a blob": {
			tenant: subscribed,
			run: func(w *world) {
				f := blob(tenant.SharePoint)
				f.Times = 3
				w.tenant.Inject(f, tenant.HTMLPage(200))
				w.lastWeek(3, 10)
				w.run(time.Hour)
			},
		},
		"downtime of 25 hours": {
			tenant: subscribed,
			run: func(w *world) {
				w.lastWeek(10, 3)
				w.run(2 * time.Minute)
				w.tenant.Publish(tenant.Plan{Seed: 8, Blobs: 50, Records: 3, From: time.Now(), To: time.Now().Add(25 * time.Hour)})
				time.Sleep(25 * time.Hour)
				w.run(2 * time.Minute)
			},
		},
		"token expires and is revoked": {
			tenant: tenant.Config{Subscribed: tenant.ContentTypes(), TokenLife: 10 * time.Minute},
			run: func(w *world) {
				c := w.open()
				c.Start()
				for i := range 60 {
					w.tenant.AddBlob(tenant.Exchange, time.Now(), tenant.Generated{Seed: 2, First: uint64(i) * 5, Records: 5})
					if i%7 == 0 {
						w.tenant.RevokeTokens()
					}
					w.host(c, time.Minute)
				}
				w.host(c, 2*time.Minute)
				w.stop(c)
			},
		},
		"our clock is 10 minutes ahead": {
			tenant: tenant.Config{Subscribed: tenant.ContentTypes(), Skew: -10 * time.Minute},
			run: func(w *world) {
				w.tenant.Publish(tenant.Plan{Blobs: 20, Records: 3, From: ago(6 * 24 * time.Hour), To: ago(11 * time.Minute)})
				w.run(5 * time.Minute)
			},
		},
		"our clock is a day behind": {
			tenant: tenant.Config{Subscribed: tenant.ContentTypes(), Skew: 24 * time.Hour},
			run: func(w *world) {
				w.tenant.Publish(tenant.Plan{Blobs: 20, Records: 3, From: ago(5 * 24 * time.Hour), To: ago(-24 * time.Hour)})
				w.run(5 * time.Minute)
			},
		},
		"start is throttled": {
			run: func(w *world) {
				w.tenant.Inject(tenant.Fault{Operation: tenant.StartSubscription, ContentType: tenant.General, Times: 1},
					tenant.AnswerError(403, "429", "Too many requests. Please retry again after 14m 56s"))
				w.keys["start_from"] = "1d"
				w.tenant.Publish(tenant.Plan{Blobs: 5, Records: 3, From: ago(20 * time.Hour), To: ago(time.Minute)})
				w.run(20 * time.Minute)
			},
			notices: []string{"subscription_started", "throttled"},
		},
		"start says already enabled": {
			tenant: subscribed,
			run: func(w *world) {
				w.tenant.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.Answer(200, "[]"))
				w.lastWeek(2, 2)
				w.run(2 * time.Minute)
			},
			notices: []string{"subscription_started"},
		},
		"one window fails for hours, the next succeed": {
			tenant: subscribed,
			run: func(w *world) {
				w.lastWeek(30, 2)
				w.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.Exchange, Skip: 2, Times: 12}, tenant.AnswerError(500, "AF50000", "internal"))
				w.run(2 * time.Hour)
			},
		},
		"the same blob under a new contentId": {
			tenant: subscribed,
			dedup:  true,
			run: func(w *world) {
				id := w.tenant.AddBlob(tenant.General, ago(time.Hour), tenant.Generated{Seed: 5, Records: 50})
				w.tenant.Republish(id, ago(30*time.Minute))
				w.run(2 * time.Minute)
			},
		},
		"the subscription is disabled in mid-run": {
			tenant: subscribed,
			run: func(w *world) {
				w.lastWeek(2, 2)
				c := w.open()
				c.Start()
				w.host(c, 30*time.Minute)
				w.tenant.Disable(tenant.General)
				w.host(c, 20*time.Minute)
				w.tenant.AddBlob(tenant.General, time.Now(), tenant.Generated{Seed: 77, Records: 5})
				w.host(c, 5*time.Minute)
				w.stop(c)
			},
			notices: []string{"subscription_disabled"},
		},
		"the list of subscriptions can't be had": {
			tenant: subscribed,
			run: func(w *world) {
				w.tenant.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.AnswerError(500, "AF50000", "internal"))
				w.lastWeek(3, 3)
				w.run(3 * time.Minute)
			},
		},
		"the secret is rotated": {
			tenant: tenant.Config{Subscribed: tenant.ContentTypes(), TokenLife: 10 * time.Minute},
			run: func(w *world) {
				path := w.keys["db"] + ".secret"
				w.keys["client_secret"], w.keys["client_secret_file"] = "", path
				w.write(path, tenant.DefaultClientSecret)
				c := w.open()
				c.Start()
				w.host(c, 2*time.Minute)
				w.tenant.SetSecret("the-new-one")
				w.host(c, 5*time.Minute)
				w.write(path, "the-new-one\n")
				w.tenant.Publish(tenant.Plan{Blobs: 3, Records: 3, From: time.Now(), To: time.Now().Add(10 * time.Minute)})
				w.host(c, 30*time.Minute)
				w.stop(c)
			},
		},
		"the host pauses for minutes": {
			tenant: subscribed,
			run: func(w *world) {
				w.lastWeek(40, 50)
				c := w.open()
				c.Start()
				w.host(c, 2*time.Second)
				c.Pause()
				w.host(c, 10*time.Minute)
				c.Resume()
				w.host(c, 5*time.Minute)
				w.stop(c)
			},
		},
		"the db is damaged": {
			tenant: subscribed,
			run: func(w *world) {
				w.lastWeek(3, 3)
				w.run(2 * time.Minute)
				w.write(w.keys["db"], strings.Repeat("damaged ", 10_000))
				w.run(2 * time.Minute)
			},
			repeated: 45,
			notices:  []string{"ledger_reset"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, tc.tenant, func(w *world) {
				if !tc.dedup {
					w.keys["dedup_window"] = "off"
				}
				tc.run(w)
				w.wantNotices(tc.notices...)
				w.verdict(tc.repeated)
			})
		})
	}
}

func (w *world) write(path, content string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestDowntimeBeyondRetentionIsAGap(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.tenant.AddBlob(tenant.General, ago(time.Hour), tenant.Generated{Records: 3})
		w.run(2 * time.Minute)
		time.Sleep(8 * 24 * time.Hour)
		w.tenant.AddBlob(tenant.General, ago(6*24*time.Hour), tenant.Generated{Seed: 2, Records: 3})
		w.run(2 * time.Minute)
		w.verdict(0)
		w.wantNotices("gap")
		w.wantLog("gap: the API no longer lists what became available then")
	})
}

func TestBlobThatVanishesIsAnnouncedAndNotTriedAgain(t *testing.T) {
	for name, effect := range map[string]tenant.Effect{
		"AF20050": tenant.AnswerError(400, "AF20050", "The specified content doesn't exist."),
		"AF20051": tenant.AnswerError(410, "AF20051", "Content requested with the key has already expired."),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, subscribed, func(w *world) {
				id := w.tenant.AddBlob(tenant.DLP, ago(time.Hour), tenant.Body("[]"))
				w.tenant.AddBlob(tenant.DLP, ago(time.Hour), tenant.Generated{Records: 3})
				gone := w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, effect)
				w.run(time.Hour)
				w.run(time.Hour)
				w.verdict(0)
				w.wantNotices("blob_lost")
				if gone.Hits() != 1 {
					t.Errorf("asked for %d times", gone.Hits())
				}
			})
		})
	}
}

func TestOneTypeWithoutPermissionLeavesTheOthersAlone(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.tenant.Inject(tenant.Fault{ContentType: tenant.DLP}, tenant.PermissionMissing(401))
		w.tenant.Publish(tenant.Plan{
			ContentTypes: []string{tenant.AzureActiveDirectory, tenant.Exchange, tenant.SharePoint, tenant.General},
			Blobs:        20, Records: 5, From: ago(24 * time.Hour), To: ago(time.Minute),
		})
		w.run(5 * time.Minute)
		w.verdict(0)
		w.wantNotices("access_refused")
		w.wantLog("AF10001")
	})
}

func TestUnreadableRecordsAreDeliveredAsSuch(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.tenant.AddBlob(tenant.General, ago(time.Hour), tenant.Body(`[{"Id":"a"},{"Id":"b","x":tru},5,{"Id":"c"}]`))
		w.tenant.AddBlob(tenant.General, ago(time.Hour), tenant.Generated{Records: 1})
		w.run(2 * time.Minute)
		w.verdict(0)
		if w.unread != 2 || w.delivered["a"] != 1 || w.delivered["c"] != 1 {
			t.Errorf("%d unreadable, delivered %v", w.unread, w.delivered)
		}
	})
}

// A front door or a wrong setting may say so too: only after some minutes is it believed.
func TestBlobThatMayBeGoneIsAskedForAgain(t *testing.T) {
	for name, effect := range map[string]tenant.Effect{
		"404":     tenant.Answer(404, ""),
		"AF20052": tenant.AnswerError(400, "AF20052", "Content ID is invalid."),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, subscribed, func(w *world) {
				gone := w.tenant.AddBlob(tenant.DLP, ago(time.Hour), tenant.Body("[]"))
				w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: gone}, effect)
				back := w.tenant.AddBlob(tenant.DLP, ago(time.Hour), tenant.Generated{Records: 3})
				w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: back, Times: 3}, effect)
				w.run(time.Hour)
				w.verdict(0)
				w.wantNotices("blob_lost")
				if n := w.notices["blob_lost"]; n != 1 {
					t.Errorf("%d blobs lost", n)
				}
			})
		})
	}
}

// A blob whose JSON never ends: what is whole is delivered, and the loss of the rest announced when the blob expires.
func TestBlobThatAlwaysEndsEarlyIsAnnouncedWhenItExpires(t *testing.T) {
	inWorld(t, tenant.Config{Subscribed: tenant.ContentTypes(), Retention: 2 * time.Hour}, func(w *world) {
		w.tenant.AddBlob(tenant.General, ago(time.Minute), tenant.Body(`[{"Id":"a"},{"Id":"b"},{"Id":`))
		w.tenant.AddBlob(tenant.General, ago(time.Minute), tenant.Generated{Records: 1})
		w.run(time.Hour)
		w.wantNotices()
		w.run(2 * time.Hour)
		w.verdict(0)
		w.wantNotices("blob_lost")
		if w.delivered["a"] != 1 || w.delivered["b"] != 1 {
			t.Errorf("delivered %v", w.delivered)
		}
	})
}

// Blobs that are refused do not keep the others waiting.
func TestRefusedBlobsLeaveTheOthersAlone(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		for i := range 40 {
			id := w.tenant.AddBlob(tenant.General, ago(10*time.Hour), tenant.Body("[]"))
			w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, tenant.AnswerError(403, fmt.Sprint("AF1234", i), "no"))
		}
		w.tenant.Publish(tenant.Plan{ContentTypes: []string{tenant.General}, Blobs: 100, Records: 2, From: ago(9 * time.Hour), To: ago(time.Hour)})
		w.run(time.Hour)
		w.verdict(0)
	})
}

// A clock that is far ahead before the first answer writes no blob off.
func TestLocalClockExpiresNothing(t *testing.T) {
	inWorld(t, tenant.Config{Subscribed: tenant.ContentTypes(), Skew: -30 * 24 * time.Hour}, func(w *world) {
		w.tenant.Publish(tenant.Plan{Blobs: 10, Records: 3, From: ago(30*24*time.Hour + 6*time.Hour), To: ago(30*24*time.Hour + time.Hour)})
		hang := w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob}, tenant.AnswerError(503, "", ""))
		w.run(2 * time.Minute)
		hang.Remove()
		down := w.tenant.Inject(tenant.Fault{}, tenant.Hang())
		c := w.open()
		c.Start()
		w.host(c, 10*time.Minute)
		down.Remove()
		w.host(c, time.Hour)
		w.stop(c)
		w.verdict(0)
		w.wantNotices()
	})
}

// roundTripper is a function that answers requests.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Where a proxy takes the answers' time away, the local clock has to do.
func TestAnswersWithoutADate(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		inner := w.transport
		w.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			res, err := inner.RoundTrip(r)
			if err == nil {
				res.Header.Del("Date")
			}
			return res, err
		})
		w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, Times: 5}, tenant.AnswerError(503, "", ""))
		w.lastWeek(3, 3)
		w.run(30 * time.Minute)
		w.verdict(0)
	})
}

// Listing, and starting, do not depend on the list of subscriptions.
func TestListOfSubscriptionsIsNotNeeded(t *testing.T) {
	for name, effect := range map[string]tenant.Effect{"fails": tenant.AnswerError(500, "AF50000", "internal"), "hangs": tenant.Hang()} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, tenant.Config{}, func(w *world) {
				w.tenant.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, effect)
				w.lastWeek(3, 3)
				w.run(30 * time.Minute)
				w.verdict(0)
			})
		})
	}
}

// A start that fails keeps nobody from listing, and is not hammered.
func TestStartThatFails(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.tenant.Inject(tenant.Fault{Operation: tenant.ListSubscriptions}, tenant.Answer(200, "[]"))
		starts := w.tenant.Inject(tenant.Fault{Operation: tenant.StartSubscription}, tenant.AnswerError(500, "AF50000", "internal"))
		w.lastWeek(3, 3)
		w.run(2 * time.Hour)
		w.verdict(0)
		if n := starts.Hits(); n < 5 || n > 5*15 {
			t.Errorf("%d starts", n)
		}
	})
}

// A start that was throttled is made again when the API said, and not before: by itself it would be a minute after the first.
func TestThrottledStartWaits(t *testing.T) {
	inWorld(t, tenant.Config{}, func(w *world) {
		w.keys["content_types"], w.keys["start_from"] = tenant.General, "1d"
		w.tenant.Inject(tenant.Fault{Operation: tenant.StartSubscription, Times: 1},
			tenant.AnswerError(403, "429", "Too many requests. Please retry again after 5m 0s"))
		c := w.open()
		c.Start()
		begun := time.Now()
		starts := func() int { return w.tenant.Account().Starts[tenant.General] }
		for starts() < 2 && time.Since(begun) < 15*time.Minute {
			w.host(c, time.Second)
		}
		if d := time.Since(begun); starts() != 2 || d < 5*time.Minute {
			t.Errorf("%d starts within %s", starts(), d)
		}
		w.host(c, time.Hour)
		w.stop(c)
		if n := starts(); n != 2 {
			t.Errorf("%d starts", n)
		}
		w.wantNotices("throttled", "subscription_started")
	})
}

func TestOutageIsNotHammered(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.lastWeek(3, 3)
		down := w.tenant.Inject(tenant.Fault{Operation: tenant.ListContent}, tenant.AnswerError(500, "AF50000", "internal"))
		c := w.open()
		c.Start()
		w.host(c, time.Hour)
		calls := down.Hits()
		down.Remove()
		w.host(c, 10*time.Minute)
		w.stop(c)
		w.verdict(0)
		if calls > 5*60 {
			t.Errorf("%d listing calls in an hour", calls)
		}
	})
}

// The API's edge is a little nearer than documented: the windows give way.
func TestWindowThatTheAPIRefusesIsClipped(t *testing.T) {
	inWorld(t, tenant.Config{Subscribed: tenant.ContentTypes(), Skew: time.Second}, func(w *world) {
		w.tenant.AddBlob(tenant.General, ago(6*24*time.Hour), tenant.Generated{Records: 3})
		w.tenant.Inject(tenant.Fault{Operation: tenant.ListContent, ContentType: tenant.General, Times: 2}, tenant.AnswerError(400, "AF20055", "out of range"))
		w.run(5 * time.Minute)
		w.verdict(0)
	})
}

// An error document under status 200 is no record.
func TestErrorDocumentIsNoBlob(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, Times: 3}, tenant.Answer(200, `{"error":{"code":"AF50000","message":"An internal error occurred."}}`))
		w.lastWeek(2, 10)
		w.run(time.Hour)
		w.verdict(0)
		if w.unread > 0 || w.delivered[""] > 0 {
			t.Errorf("the error was delivered")
		}
	})
}

// Whatever the moment of a crash, the next run brings what the one before did not settle.
func TestCrashesAtAnyMoment(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inWorld(t, tenant.Config{Subscribed: tenant.ContentTypes(), Latency: 50 * time.Millisecond}, func(w *world) {
				w.keys["batch_size"], w.keys["buffer_size"] = "64K", "256K"
				w.lastWeek(30, 40)
				rng := rand.New(rand.NewPCG(seed, 0))
				for range 12 {
					c := w.open()
					c.Start()
					alive := time.Duration(rng.IntN(12_000)) * time.Millisecond
					w.host(c, alive)
					// The process dies: what the host took in the last settle seconds may die with it. Nothing of it may be called done.
					before := maps.Clone(w.delivered)
					time.Sleep(alive % time.Second)
					w.take(c)
					w.delivered = before
					w.stop(c)
				}
				w.run(10 * time.Minute)
				w.verdict(30 * 40 * 5)
			})
		})
	}
}

// Memory is bounded by buffer_size, whatever there is to collect and however long the host takes nothing.
func TestBufferIsBounded(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		w.keys["batch_size"], w.keys["buffer_size"] = "64K", "320K"
		w.lastWeek(10, 100)
		c := w.open()
		c.Start()
		time.Sleep(10 * time.Minute)
		w.host(c, 10*time.Minute)
		w.stop(c)
		w.verdict(0)
		if w.memory.most > 400_000 {
			t.Errorf("held %d bytes", w.memory.most)
		}
	})
}

func TestStopDoesNotWaitForACallThatHangs(t *testing.T) {
	for op, name := range map[tenant.Operation]string{
		tenant.Token: "token", tenant.ListSubscriptions: "subscriptions", tenant.ListContent: "listing", tenant.FetchBlob: "blob",
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, subscribed, func(w *world) {
				w.lastWeek(5, 5)
				w.tenant.Inject(tenant.Fault{Operation: op}, tenant.Hang())
				w.run(10 * time.Second)
			})
		})
	}
}

func TestSecondInputOnTheSameDBIsRefused(t *testing.T) {
	inWorld(t, subscribed, func(w *world) {
		c := w.open()
		defer c.Stop()
		cfg, err := config.Parse(w.keys)
		if err != nil {
			t.Fatal(err)
		}
		_, err = collector.New(cfg, collector.Options{Log: slog.New(slog.DiscardHandler), Memory: w.memory})
		if err == nil || !strings.Contains(err.Error(), "in use by another process or another office365 input") {
			t.Error(err)
		}
	})
}

func TestNoSecretInTheLog(t *testing.T) {
	inWorld(t, tenant.Config{}, func(w *world) {
		failing := w.tenant.Inject(tenant.Fault{Probability: 0.3}, tenant.AnswerError(500, "AF50000", "internal"))
		cutting := w.tenant.Inject(tenant.Fault{Operation: tenant.FetchBlob, Probability: 0.3}, tenant.CutConnection(1000))
		w.lastWeek(10, 10)
		w.run(time.Hour)
		failing.Remove()
		cutting.Remove()
		w.run(time.Hour)
		w.verdict(0)
		for _, secret := range []string{tenant.DefaultClientSecret, "Bearer", "eyJ"} {
			if strings.Contains(w.log.String(), secret) {
				t.Errorf("the log shows %q", secret)
			}
		}
	})
}
