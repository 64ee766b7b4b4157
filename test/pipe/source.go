package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"in_office365/test/tenant"
	"in_office365/test/tenant/records"
)

// seed is the emulated tenant's default, so that the file has the tenant's records.
const seed = 1

// served is an emulated tenant in a process of its own.
type served struct {
	command *exec.Cmd
	out     *json.Decoder
	url     string
	records int // that it offers
}

func serve(ctx context.Context, program string, r run) (*served, error) {
	args := []string{
		"-subscribed", "-seed", strconv.Itoa(seed), "-gzip=" + strconv.FormatBool(!r.plain), "-blobs", strconv.Itoa(r.offer.blobs),
		"-records", strconv.Itoa(r.offer.records), "-bytes", strconv.FormatInt(r.offer.bytes, 10),
	}
	if !r.offer.empty() {
		args = append(args, "-content-types", r.offer.contentTypes())
	}
	s := &served{command: exec.CommandContext(ctx, program, args...)}
	s.command.Stderr = os.Stderr
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	s.out = json.NewDecoder(stdout)
	var first struct {
		URL     string
		Records int
	}
	if err := s.out.Decode(&first); err != nil {
		s.kill()
		return nil, fmt.Errorf("reading the first line of the emulated tenant: %w", err)
	}
	s.url, s.records = first.URL, first.Records
	return s, nil
}

func (s *served) kill() {
	s.command.Process.Kill() // an error says that it has ended already
	_ = s.command.Wait()     // killed
}

// end stops the tenant and returns how many bytes of JSON it has served. It fails unless each blob was fetched once.
func (s *served) end() (bytes int64, err error) {
	defer s.kill()
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	var account tenant.Account
	if err := s.out.Decode(&account); err != nil {
		return 0, fmt.Errorf("reading the account of the emulated tenant: %w", err)
	}
	for contentType, o := range account.Offered {
		if o.Whole != o.Blobs || o.Fetched != o.Blobs || o.Partial+o.Refused > 0 {
			return 0, fmt.Errorf("%s: %+v: not each blob was fetched once", contentType, o)
		}
		bytes += o.Bytes
	}
	return bytes, nil
}

// writeLines writes the records that a tenant offers, one a line, to a file, gzipped as the tenant does or plain, and returns their number
// and size. They differ from the tenant's in their times alone.
func writeLines(path string, r run) (n int, bytes int64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	out := io.WriteCloser(f)
	if !r.plain {
		out = gzip.NewWriter(f)
	}
	buffered := bufio.NewWriterSize(out, 1<<20)
	now := time.Now()
	var line []byte
	for range r.offer.blobs {
		for _, contentType := range r.offer.types {
			for range r.offer.records {
				line = append(records.Append(line[:0], contentType, seed, uint64(n), now), '\n')
				n++
				bytes += int64(len(line))
				if _, err := buffered.Write(line); err != nil {
					return n, bytes, err
				}
			}
		}
	}
	return n, bytes, errors.Join(buffered.Flush(), out.Close())
}
