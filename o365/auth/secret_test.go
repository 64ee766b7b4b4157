package auth_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"in_office365/o365"
	"in_office365/o365/auth"
)

func TestSplitCommand(t *testing.T) {
	for _, tc := range []struct {
		line string
		want []string // nil: refused
	}{
		{"vault", []string{"vault"}},
		{" vault  kv\tget -field=secret  office365 ", []string{"vault", "kv", "get", "-field=secret", "office365"}},
		{`get "Client Secret" 'of "Contoso"'`, []string{"get", "Client Secret", `of "Contoso"`}},
		{`get -field="Client Secret" ''`, []string{"get", "-field=Client Secret", ""}},
		{`get $HOME * \ ; | rm`, []string{"get", "$HOME", "*", `\`, ";", "|", "rm"}},
		{"", nil},
		{" \t", nil},
		{`""`, nil},
		{`get "Client Secret`, nil},
		{`get 'Client Secret"`, nil},
	} {
		got, err := auth.SplitCommand(tc.line)
		if !slices.Equal(got, tc.want) || (err == nil) != (tc.want != nil) {
			t.Errorf("%q: got %q, %v, want %q", tc.line, got, err, tc.want)
		}
	}
}

func TestCommandForASecret(t *testing.T) {
	shell := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	for _, tc := range []struct {
		name string
		argv []string
		want string // the secret, or what the error is
		fail bool
	}{
		{"prints it", []string{"printf", " s3cr3t\r\n"}, "s3cr3t", false},
		{"complains and prints it", shell("echo a warning >&2; echo s3cr3t"), "s3cr3t", false},
		{"has nothing to read", shell("cat; echo s3cr3t"), "s3cr3t", false},
		{"no shell", []string{"echo", "$HOME", "s3cr3t"}, "$HOME s3cr3t", false},
		{"prints nothing", []string{"true"}, "true printed nothing", true},
		{"fails", shell("echo 'permission denied\nat line 1' >&2; exit 2"), "/bin/sh: exit status 2: permission denied", true},
		{"fails without a word", []string{"false"}, "false: exit status 1", true},
		{"fails having printed it", shell("echo s3cr3t; echo 's3cr3t is bad' >&2; exit 1"), "/bin/sh: exit status 1", true},
		{"prints too much", shell("head -c 65537 /dev/zero"), "/bin/sh printed more than 65536 bytes", true},
		{"prints without end", []string{"yes"}, "yes printed more than 65536 bytes", true},
		{"complains of its arguments", []string{"/bin/sh", "-c", `echo "$0 -n $1 $2: no $3" >&2; exit 1`, "hvs.CONFIDENTIAL", "--token=confidential", "confidential-too", "-n"},
			"/bin/sh: exit status 1: [argument] -n [argument] [argument]: no -n", true},
		{"complains of an argument's value", []string{"/bin/sh", "-c", `echo "bad ${0#--token=}" >&2; exit 1`, "--token=confidential"}, "/bin/sh: exit status 1: bad [argument]", true},
		{"is not there", []string{"/nonexistent/vault", "s3cr3t"}, "/nonexistent/vault: fork/exec /nonexistent/vault: no such file or directory", true},
		{"leaves something behind", shell("echo s3cr3t; sleep 1000 &"), "/bin/sh left processes behind that keep its output open", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := auth.RunForSecret(t.Context(), tc.argv, time.Minute)
			if tc.fail {
				if err == nil || err.Error() != tc.want {
					t.Errorf("got %d bytes, %v, want the error %q", len(got), err, tc.want)
				}
				return
			}
			if got != tc.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

// What a host has open is none of a command's business: its sockets would be kept alive, its databases might be locked.
func TestCommandsInheritNoFiles(t *testing.T) {
	// As C programs open them: without the flag that Go sets.
	fd, err := syscall.Open(write(t, nil), syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	got, err := auth.RunForSecret(t.Context(), []string{"/bin/sh", "-c", fmt.Sprintf("test -e /proc/self/fd/%d && echo inherited || echo closed", fd)}, time.Minute)
	if got != "closed" || err != nil {
		t.Errorf("the file is %s, %v", got, err)
	}
}

// When it has printed a secret, when its time is up, or nobody waits for it any more, a command ends with all that it has started.
func TestCommandsEndWithTheirGroup(t *testing.T) {
	for _, tc := range []struct {
		name    string
		timeout time.Duration
		left    bool   // the one that waits leaves
		last    string // what the command does at last
		want    string // the error
	}{
		{"it has ended", time.Hour, false, "echo s3cr3t", ""},
		{"it has failed", time.Hour, false, "exit 1", "/bin/sh: exit status 1"},
		{"time is up", 300 * time.Millisecond, false, "sleep 1000", "/bin/sh took longer than 300ms"},
		{"nobody waits", time.Hour, true, "sleep 1000", "context canceled"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			// The pipe ends when all who may write to it have ended.
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				f, err := os.Open(pipe)
				if err == nil {
					_, err = io.ReadFull(f, make([]byte, 1))
					if tc.left {
						cancel()
					}
					_, _ = io.Copy(io.Discard, f)
				}
				ended <- err
			}()
			_, err := auth.RunForSecret(ctx, []string{"/bin/sh", "-c", "exec 3>" + pipe + "; echo >&3; sleep 1000 >/dev/null 2>&1 & " + tc.last}, tc.timeout)
			if (err == nil) != (tc.want == "") || err != nil && err.Error() != tc.want {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSecretCommandIsRunForEachToken(t *testing.T) {
	path := write(t, []byte("old"))
	byCommand := func() *auth.Source {
		return source(t, func(w http.ResponseWriter, r *http.Request) { issue(w, "for "+r.PostFormValue("client_secret")) },
			func(o *auth.Options) { o.Credential = auth.ClientSecretCommand([]string{"cat", path}) })
	}
	s := byCommand()
	wantToken(t, s, "for old")
	if err := os.WriteFile(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantToken(t, s, "for old")
	s.Refuse("for old")
	wantToken(t, s, "for new")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err := byCommand().Token(t.Context())
	if e := typed(t, err); e.Action != o365.Reconfigure || !strings.HasPrefix(e.Error(), "get token: read the client secret: cat: exit status 1: ") {
		t.Errorf("got %v", err)
	}
}

// Many Sources that want the same credential at the same time cost two readings, and each has what was read after it asked.
func TestReadingsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		readings := 0
		get := auth.Shared(func(ctx context.Context) (int, error) {
			readings++
			n := readings
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return n, ctx.Err()
		})
		leaving, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := get(leaving); err != context.Canceled { //nolint:errorlint // as it comes
				t.Errorf("the one that left got %v", err)
			}
		})
		synctest.Wait()
		for range 500 {
			all.Go(func() {
				if n, err := get(t.Context()); n != 2 || err != nil {
					t.Errorf("got %d, %v, want the second reading", n, err)
				}
			})
		}
		synctest.Wait()
		leave()
		all.Wait()
		if n, err := get(t.Context()); n != 3 || err != nil {
			t.Errorf("got %d, %v, want a third reading", n, err)
		}
	})
}

// That a secret has expired, its refusal tells.
func TestExpiredSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expired := true
		credential := auth.ClientSecret(secret)
		s := source(t, func(w http.ResponseWriter, r *http.Request) {
			if expired {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired."}`)
				return
			}
			issue(w, "token")
		}, func(o *auth.Options) { o.Credential = credential })
		begin := time.Now()
		for range 2 {
			if _, err := s.Token(t.Context()); typed(t, err).Action != o365.Reconfigure || !credential.Expires().Equal(begin) {
				t.Errorf("got %v, expired at %s, want %s", err, credential.Expires(), begin)
			}
			time.Sleep(time.Minute)
		}
		expired = false
		wantToken(t, s, "token")
		if at := credential.Expires(); !at.IsZero() {
			t.Errorf("still expired at %s", at)
		}
	})
}
