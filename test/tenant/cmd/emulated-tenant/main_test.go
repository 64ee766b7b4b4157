package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"in_office365/test/tenant"
)

func TestFlagsThatAreRefused(t *testing.T) {
	tests := []struct{ args, want string }{
		{"-listen 0.0.0.0:0", "-listen 0.0.0.0:0: not a loopback address"},
		{"-listen :8080", "-listen :8080: not a loopback address"},
		{"-listen 127.0.0.1", "-listen: address 127.0.0.1: missing port in address"},
		{"-content-types Audit.Everything", `-content-types: "Audit.Everything" is none of`},
		{"-family unknown", `-family: "unknown" is none of`},
		{"-error-rate 2", "-error-rate 2: not between 0 and 1"},
		{"-page-size 0", "-page-size at least 1"},
		{"now", `unexpected argument "now"`},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			err := run(t.Context(), strings.Fields(test.args), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error: %v, want %s", err, test.want)
			}
		})
	}
}

func TestItServesUntilItIsTold(t *testing.T) {
	ids := filepath.Join(t.TempDir(), "ids")
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-blobs", "3", "-records", "7", "-subscribed", "-ids", ids}, writer, io.Discard)
		writer.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(reader)
	line := func(v any) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("no line: %v", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), v); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
	}

	var started struct {
		URL      string
		TenantID string `json:"tenant_id"`
		ClientID string `json:"client_id"`
		Records  int
	}
	line(&started)
	if started.Records != 5*21 {
		t.Errorf("%d records are announced, want 105", started.Records)
	}
	response, err := http.PostForm(started.URL+"/"+started.TenantID+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {started.ClientID}, "client_secret": {tenant.DefaultClientSecret}, "resource": {tenant.DefaultAudience},
	})
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("token: status %d, want 200", response.StatusCode)
	}

	stop()
	var account tenant.Account
	line(&account)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if account.TokensIssued != 1 || account.Offered[tenant.Exchange].Records != 21 {
		t.Errorf("account: %d tokens, %d Exchange records; want 1, 21", account.TokensIssued, account.Offered[tenant.Exchange].Records)
	}
	text, err := os.ReadFile(ids)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for l := range bytes.Lines(text) {
		seen[strings.Fields(string(l))[2]] = true
	}
	if len(seen) != 5*21 {
		t.Errorf("%d distinct record ids, want 105", len(seen))
	}
}
