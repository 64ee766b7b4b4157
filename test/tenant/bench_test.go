package tenant_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"in_office365/test/tenant"
)

// How fast a blob reaches a client that does nothing with it.
func BenchmarkFetchBlob(b *testing.B) {
	const size = 16 << 20
	for _, connection := range []string{"in memory", "over a socket"} {
		b.Run(connection, func(b *testing.B) {
			tn := tenant.New(tenant.Config{})
			id := tn.AddBlob(tenant.General, time.Now(), tenant.Sized(tenant.General, 1, size))
			server := httptest.NewServer(tn)
			defer server.Close()
			client := server.Client()
			if connection == "in memory" {
				client = &http.Client{Transport: tn.RoundTripper()}
			}
			token := benchmarkToken(b, client, server.URL)
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequest(http.MethodGet, server.URL+"/api/v1.0/"+tenant.DefaultID+"/activity/feed/audit/"+id, nil)
				if err != nil {
					b.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+token)
				response, err := client.Do(r)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if err != nil || n < size {
					b.Fatalf("%d bytes, %v", n, err)
				}
				b.SetBytes(n)
			}
		})
	}
}

func benchmarkToken(b *testing.B, client *http.Client, base string) string {
	b.Helper()
	response, err := client.PostForm(base+"/"+tenant.DefaultID+"/oauth2/token", grant())
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&token); err != nil {
		b.Fatal(err)
	}
	return token.AccessToken
}
