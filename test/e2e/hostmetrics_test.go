package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"in_office365/test/tenant"
)

// The plugin's figures stand among Fluent Bit's own, are right, and come and go with the input, while somebody asks for them all the time.
func TestFluentBitsMetricsHaveThePluginsFigures(t *testing.T) {
	t.Parallel()
	const (
		reloads    = 3
		hangsSince = 3 * time.Hour
	)
	tn, dir := tenant.New(tenant.Config{Subscribed: tenant.ContentTypes()}), t.TempDir()
	week(tn, 1, 4, 5)
	for seed := range uint64(2) {
		id := tn.AddBlob(tenant.Exchange, time.Now().Add(-time.Hour), tenant.Generated{Seed: 100 + seed, Records: 3})
		tn.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: id}, tenant.AnswerError(http.StatusGone, "AF20051", "expired"))
	}
	hangs := tn.AddBlob(tenant.DLP, time.Now().Add(-hangsSince), tenant.Generated{Seed: 102, Records: 3})
	tn.Inject(tenant.Fault{Operation: tenant.FetchBlob, ContentID: hangs}, tenant.Hang())
	address := freeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	service := fmt.Sprintf("  hot_reload: on\n  http_server: on\n  http_listen: 127.0.0.1\n  http_port: %s\n", port)
	f := startFluentBit(t, writeConfiguration(t, dir, service, input{
		tag: "OFFICE365_EVENT_DATA", lines: "alias: audit", keys: stanza(serve(t, tn), dir, nil), output: fileOutput(dir),
	}))

	var shown atomic.Pointer[string] // the last answer
	var answers atomic.Int64
	ctx, end := context.WithCancel(t.Context())
	var scraper sync.WaitGroup
	defer scraper.Wait()
	defer end()
	scraper.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			if text, err := get(ctx, "http://"+address+"/api/v2/metrics/prometheus"); err == nil {
				shown.Store(&text)
				answers.Add(1)
			}
		}
	})
	value := func(name string) string {
		if text := shown.Load(); text != nil {
			if m := regexp.MustCompile(`(?m)^fluentbit_office365_` + name + `\{name="audit"\} (\S+)`).FindStringSubmatch(*text); m != nil {
				return m[1]
			}
		}
		return ""
	}
	until(t, "2 blobs lost, 1 that hangs, no gap, and as far behind as the blob is old", func() bool {
		behind, _ := strconv.ParseFloat(value("behind_seconds"), 64)
		return value("blobs_lost_total") == "2" && value("blobs_incomplete") == "1" && value("gaps_total") == "0" &&
			behind >= hangsSince.Seconds() && behind < (hangsSince+2*patience).Seconds()
	})
	for range reloads {
		f.reload()
		shown.Store(nil)
		until(t, "the figures of the next run", func() bool { return value("blobs_lost_total") != "" })
	}
	f.terminate()
	if f.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("Fluent Bit ended with %s", f.cmd.ProcessState)
	}
	t.Logf("%d answers, %d reloads", answers.Load(), reloads)
}

func get(ctx context.Context, url string) (body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Close = true // a connection that stays open keeps Fluent Bit from reloading
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %s", response.Status)
	}
	return string(b), err
}
