package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// hostLevel is a level of Fluent Bit's log: include/fluent-bit/flb_log.h:40 (v5.1.1).
type hostLevel int

const (
	levelError hostLevel = 1 + iota
	levelWarn
	levelInfo
	levelDebug
	levelTrace
)

const (
	// maxLogLine is the longest text printed, in bytes. The host's buffer holds
	// 4088, of which its coloured header takes about 65 (src/flb_log.c:54 and
	// :168, v5.1.1).
	maxLogLine = 4000
	// maxLogLines is how many lines wait for the next callback. There is none
	// while the host pauses the input.
	maxLogLines = 512
)

// toHostLevel maps a level; trace is what lies below debug (slog.LevelDebug-4).
func toHostLevel(l slog.Level) hostLevel {
	switch {
	case l >= slog.LevelError:
		return levelError
	case l >= slog.LevelWarn:
		return levelWarn
	case l >= slog.LevelInfo:
		return levelInfo
	case l >= slog.LevelDebug:
		return levelDebug
	default:
		return levelTrace
	}
}

// hostLog is the log of one instance. Lines may be added by any goroutine; they
// wait until a callback of the host flushes them, because on a thread that is
// not its own Fluent Bit writes past log_file straight to stderr
// (src/flb_log.c:1226, v5.1.1).
type hostLog struct {
	level  hostLevel // finest level wanted
	prefix string
	print  func(hostLevel, string)

	mu      sync.Mutex
	lines   []logLine
	dropped int
	closed  bool
}

type logLine struct {
	level hostLevel
	text  string
}

// newHostLog is the log of the instance called name, in the form of Fluent Bit's
// own plugins (include/fluent-bit/flb_input_plugin.h:32, v5.1.1).
func newHostLog(level hostLevel, name string, write func(hostLevel, string)) *hostLog {
	return &hostLog{level: level, prefix: fmt.Sprintf("[input:%s:%s] ", pluginName, name), print: write}
}

// add queues one line.
func (l *hostLog) add(level hostLevel, text string) {
	if level > l.level {
		return
	}
	text = cut(l.prefix+text, maxLogLine)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
	case len(l.lines) >= maxLogLines:
		l.dropped++
	default:
		l.lines = append(l.lines, logLine{level, text})
	}
}

// flush prints what is queued. Only on the instance's thread.
func (l *hostLog) flush() {
	l.mu.Lock()
	lines, dropped := l.lines, l.dropped
	l.lines, l.dropped = nil, 0
	l.mu.Unlock()
	for _, line := range lines {
		l.print(line.level, line.text)
	}
	if dropped > 0 && levelWarn <= l.level {
		l.print(levelWarn, fmt.Sprintf("%s%d log lines dropped, more than %d waited for the next callback", l.prefix, dropped, maxLogLines))
	}
}

// close flushes once more; lines added later go nowhere.
func (l *hostLog) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.flush()
}

// logger returns a logger whose records become lines of l: the message, then
// key=value pairs in the format of slog.TextHandler.
func (l *hostLog) logger() *slog.Logger {
	attrs := &attrText{}
	return slog.New(&logHandler{log: l, text: attrs, attrs: slog.NewTextHandler(&attrs.buf, nil)})
}

// logHandler is a slog.Handler over a hostLog.
type logHandler struct {
	log   *hostLog
	text  *attrText
	attrs slog.Handler // writes to text, and keeps what With and WithGroup set
}

// attrText is where the pairs of one record are written; derived handlers share it.
type attrText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// emptyRecord is what slog.TextHandler writes before the pairs of a record
// without time and message.
const emptyRecord = `level=INFO msg=""`

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return toHostLevel(level) <= h.log.level
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	pairs := slog.Record{Level: slog.LevelInfo}
	r.Attrs(func(a slog.Attr) bool {
		pairs.AddAttrs(a)
		return true
	})
	text, err := h.format(ctx, pairs)
	if err != nil {
		return err
	}
	h.log.add(toHostLevel(r.Level), visible(r.Message)+text)
	return nil
}

func (h *logHandler) format(ctx context.Context, pairs slog.Record) (string, error) {
	h.text.mu.Lock()
	defer h.text.mu.Unlock()
	h.text.buf.Reset()
	if err := h.attrs.Handle(ctx, pairs); err != nil {
		return "", fmt.Errorf("format log attributes: %w", err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(h.text.buf.String(), emptyRecord), "\n"), nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{log: h.log, text: h.text, attrs: h.attrs.WithAttrs(attrs)}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{log: h.log, text: h.text, attrs: h.attrs.WithGroup(name)}
}

// visible returns s on one line, with everything that does not print escaped as
// in a Go string, bytes that are not UTF-8 as U+FFFD: the host prints line breaks and terminal codes as they are.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// cut returns s, or what of it leaves room for an ellipsis within n bytes.
func cut(s string, n int) string {
	const ellipsis = "..."
	if len(s) <= n {
		return s
	}
	n -= len(ellipsis)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + ellipsis
}
