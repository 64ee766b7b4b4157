package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// printed collects what reaches the host's log.
type printed []string

func (p *printed) print(level hostLevel, text string) {
	*p = append(*p, fmt.Sprintf("%d %s", level, text))
}

func TestLogLineLooksLikeFluentBits(t *testing.T) {
	tests := map[string]struct {
		log  func(*slog.Logger)
		want string
	}{
		"message alone":            {func(l *slog.Logger) { l.Info("started") }, `3 [input:office365:audit] started`},
		"pairs follow":             {func(l *slog.Logger) { l.Warn("throttled", "type", "Audit.General", "wait", 3) }, `2 [input:office365:audit] throttled type=Audit.General wait=3`},
		"value with blanks":        {func(l *slog.Logger) { l.Error("failed", "error", errors.New("no such host")) }, `1 [input:office365:audit] failed error="no such host"`},
		"line break in value":      {func(l *slog.Logger) { l.Info("m", "k", "a\nb") }, `3 [input:office365:audit] m k="a\nb"`},
		"line break in message":    {func(l *slog.Logger) { l.Info("a\r\nb") }, `3 [input:office365:audit] a\r\nb`},
		"terminal code in message": {func(l *slog.Logger) { l.Info("\x1b[31mred\x00") }, `3 [input:office365:audit] \x1b[31mred\x00`},
		"broken UTF-8 in message":  {func(l *slog.Logger) { l.Info("a\xffb") }, "3 [input:office365:audit] a\uFFFDb"},
		"format verbs are text":    {func(l *slog.Logger) { l.Info("100%s %n") }, `3 [input:office365:audit] 100%s %n`},
		"keys named like built-in": {func(l *slog.Logger) { l.Info("m", "msg", "x", "level", "y") }, `3 [input:office365:audit] m msg=x level=y`},
		"with and groups": {func(l *slog.Logger) { l.With("type", "DLP.All").WithGroup("blob").Info("m", "id", 7) },
			`3 [input:office365:audit] m type=DLP.All blob.id=7`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got printed
			l := newHostLog(levelTrace, "audit", got.print)
			test.log(l.logger())
			l.flush()
			if len(got) != 1 || got[0] != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestLogLevels(t *testing.T) {
	levels := []slog.Level{slog.LevelError + 4, slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug, slog.LevelDebug - 4}
	want := []string{"1", "1", "2", "3", "4", "5"}
	for configured := hostLevel(0); configured <= levelTrace; configured++ {
		t.Run(fmt.Sprint("log_level ", configured), func(t *testing.T) {
			var got printed
			l := newHostLog(configured, "", got.print)
			logger := l.logger()
			for _, level := range levels {
				logger.Log(t.Context(), level, "m")
			}
			l.flush()
			var wanted []string
			for _, w := range want {
				if w <= fmt.Sprint(int(configured)) {
					wanted = append(wanted, w+" [input:office365:] m")
				}
			}
			if fmt.Sprint([]string(got)) != fmt.Sprint(wanted) {
				t.Errorf("got %q, want %q", got, wanted)
			}
		})
	}
}

func TestLogWaitsForFlush(t *testing.T) {
	var got printed
	l := newHostLog(levelInfo, "audit", got.print)
	l.logger().Info("m")
	if len(got) != 0 {
		t.Errorf("printed before the flush: %q", got)
	}
	l.flush()
	l.flush()
	if len(got) != 1 {
		t.Errorf("two flushes printed %q, want one line", got)
	}
}

func TestLogKeepsAndCountsUnderPressure(t *testing.T) {
	var got printed
	l := newHostLog(levelInfo, "audit", got.print)
	logger := l.logger()
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range maxLogLines {
				logger.Info("m")
			}
		})
	}
	writers.Wait()
	l.flush()
	if len(got) != maxLogLines+1 {
		t.Fatalf("%d lines printed, want %d and a notice", len(got), maxLogLines)
	}
	want := fmt.Sprintf("2 [input:office365:audit] %d log lines dropped", 3*maxLogLines)
	if last := got[maxLogLines]; !strings.HasPrefix(last, want) {
		t.Errorf("notice %q, want %q", last, want)
	}
}

func TestLogEndsWithClose(t *testing.T) {
	var got printed
	l := newHostLog(levelInfo, "audit", got.print)
	l.logger().Info("last words")
	l.close()
	l.logger().Info("too late")
	l.flush()
	if len(got) != 1 || !strings.HasSuffix(got[0], "last words") {
		t.Errorf("printed %q, want the last words only", got)
	}
}

func TestLogLineFitsTheHostsBuffer(t *testing.T) {
	for shift := range 4 { // so that the limit falls on each byte of a character
		var got printed
		l := newHostLog(levelInfo, "audit", got.print)
		l.logger().Info(strings.Repeat("x", shift) + strings.Repeat("𝄞", maxLogLine))
		l.flush()
		text := strings.TrimPrefix(got[0], "3 ")
		if len(text) > maxLogLine || len(text) < maxLogLine-3 {
			t.Errorf("%d bytes, want at most %d and no more than a character less", len(text), maxLogLine)
		}
		if !utf8.ValidString(text) || !strings.HasSuffix(text, "𝄞...") {
			t.Errorf("cut within a character: ...%q", text[len(text)-10:])
		}
	}
}
