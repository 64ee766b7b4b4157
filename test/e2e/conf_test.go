package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"in_office365/test/tenant"
)

// bulk is as much of Elasticsearch and OpenSearch as their outputs need.
type bulk struct {
	mu      sync.Mutex
	ids     map[string]int // of the documents, by _id
	indexes map[string]int
	bad     []string // what a server would refuse
}

func newBulk() *bulk { return &bulk{ids: map[string]int{}, indexes: map[string]int{}} }

func (b *bulk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := bufio.NewReader(r.Body)
	var items []string
	for {
		action, err := lines.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		var a struct {
			Create *struct {
				Index string `json:"_index"`
				ID    string `json:"_id"`
				Type  string `json:"_type"`
			} `json:"create"`
		}
		document, _ := lines.ReadBytes('\n')
		if json.Unmarshal(action, &a) != nil || a.Create == nil || a.Create.Type != "" || !json.Valid(document) {
			b.bad = append(b.bad, string(action))
			continue
		}
		if a.Create.ID == "" { // a notice: the server makes one up
			a.Create.ID = fmt.Sprint("made up ", len(b.ids))
		}
		status := `201`
		if b.ids[a.Create.ID]++; b.ids[a.Create.ID] > 1 {
			status = `409`
		}
		b.indexes[a.Create.Index]++
		items = append(items, `{"create":{"_id":"`+a.Create.ID+`","status":`+status+`}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"took":1,"errors":false,"items":[`+strings.Join(items, ",")+`]}`)
}

func (b *bulk) arrived() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.ids)
}

// syslog receives messages over TCP, one a line.
type syslog struct {
	mu    sync.Mutex
	lines []string
}

func startSyslog(t *testing.T) (s *syslog, port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = &syslog{}
	var group sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				lines := bufio.NewReaderSize(conn, 1<<20)
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					s.mu.Lock()
					s.lines = append(s.lines, line)
					s.mu.Unlock()
				}
			})
		}
	})
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return s, port
}

func (s *syslog) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines[:len(s.lines):len(s.lines)]
}

// The index template gives every key whose type is stable that type, as the documents would be refused otherwise.
func TestIndexTemplate(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../conf/outputs/index-template.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Template struct {
			Mappings struct {
				Properties map[string]struct{ Type string }
			}
		}
	}
	if err := json.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("../../normalize/schema/tables/stable_types.csv")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{"boolean": "boolean", "integer": "long"}
	for i, line := range strings.Split(strings.TrimSpace(string(table)), "\n") {
		key, kind, _ := strings.Cut(line, ",")
		if got := document.Template.Mappings.Properties[key].Type; i > 0 && got != types[kind] {
			t.Errorf("%s: type %q in the template, %q in the table", key, got, kind)
		}
	}
}

// The configurations in conf/ as they stand, with everything switched on that they offer. Only the addresses differ, since no test talks to Microsoft.
func TestConfigurationsInConf(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"office365.yaml", "office365.conf"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			fluentBitBinary(t)
			tn := tenant.New(tenant.Config{})
			week(tn, 1, 4, 25)
			url, state, dir := serve(t, tn), t.TempDir(), t.TempDir()
			elastic, open := newBulk(), newBulk()
			messages, syslogPort := startSyslog(t)
			if err := os.CopyFS(dir, os.DirFS("../../conf")); err != nil {
				t.Fatal(err)
			}
			extension := filepath.Ext(file)
			replace := func(file string, pairs ...string) {
				path := filepath.Join(dir, file)
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for i := 0; i < len(pairs); i += 2 {
					if !strings.Contains(string(content), pairs[i]) {
						t.Fatalf("%s holds no %q", file, pairs[i])
					}
				}
				if err := os.WriteFile(path, []byte(strings.NewReplacer(pairs...).Replace(string(content))), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if extension == ".yaml" {
				replace(file, "  # - ", "  - ", "# raw_key:", "raw_key:", "      db: ", "      authentication_endpoint: "+url+"\n      api_endpoint: "+url+"\n      db: ")
			} else {
				replace(file, "# @INCLUDE", "@INCLUDE", "# raw_key", "raw_key", "    db  ", "    authentication_endpoint "+url+"\n    api_endpoint "+url+"\n    db  ")
			}
			replace("outputs/elasticsearch"+extension, "9200", port(t, elastic))
			replace("outputs/opensearch"+extension, "9200", port(t, open))
			replace("outputs/syslog"+extension, "514", syslogPort)

			f := startFluentBit(t, filepath.Join(dir, file),
				"OFFICE365_TENANT_ID="+tenant.DefaultID, "OFFICE365_CLIENT_ID="+tenant.DefaultClientID,
				"OFFICE365_CLIENT_SECRET="+tenant.DefaultClientSecret, "OFFICE365_STATE="+state,
				"OFFICE365_SYSLOG_HOST=127.0.0.1", "OFFICE365_ELASTICSEARCH_HOST=127.0.0.1", "OFFICE365_OPENSEARCH_HOST=127.0.0.1")
			const notices = 5 // subscriptions that were started
			all := offered(tn) + notices
			lines := func() []string {
				b, err := os.ReadFile(filepath.Join(state, "records.ndjson"))
				if err != nil {
					return nil
				}
				return strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n")
			}
			defer func() {
				t.Logf("of %d: file %d, Elasticsearch %d, OpenSearch %d, syslog %d",
					all, len(lines()), len(elastic.arrived()), len(open.arrived()), len(messages.received()))
			}()
			until(t, "everything to be everywhere", func() bool {
				return len(lines()) >= all && len(elastic.arrived()) >= all && len(open.arrived()) >= all && len(messages.received()) >= all
			})
			f.terminate()
			if strings.Contains(f.log.String(), "loses or repeats records") {
				t.Errorf("lossy as it stands:\n%s", f.log.String())
			}

			ids := map[string]int{}
			for _, line := range lines() {
				if text([]byte(line), "o365_notice") == "" {
					ids[text([]byte(line), "o365_id")]++
				}
			}
			account(t, ids, tn)
			for id := range ids {
				if elastic.ids[id] != 1 || open.ids[id] != 1 || !strings.Contains(f.log.String(), id) {
					t.Errorf("%s: in Elasticsearch %d times, in OpenSearch %d times, on stdout %v", id, elastic.ids[id], open.ids[id], strings.Contains(f.log.String(), id))
				}
			}
			for _, b := range []*bulk{elastic, open} {
				for index := range b.indexes {
					if !strings.HasPrefix(index, "office365-20") {
						t.Errorf("index %s", index)
					}
				}
				if len(b.bad) > 0 {
					t.Errorf("refused: %q", b.bad)
				}
			}
			messagesWithJSON := 0
			for _, line := range messages.received() {
				if strings.Contains(line, " office365 - - - {") || strings.Contains(line, " office365 - - - \xef\xbb\xbf{") {
					messagesWithJSON++
				}
			}
			if messagesWithJSON != all {
				t.Errorf("%d of %d syslog messages hold a record or a notice; the first: %.300q", messagesWithJSON, all, messages.received()[0])
			}
		})
	}
}

func port(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL[strings.LastIndexByte(server.URL, ':')+1:]
}
