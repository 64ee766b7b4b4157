package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/oauth2"

	"in_office365/o365"
)

// ClientSecret is a secret given by its value.
func ClientSecret(value string) Credential {
	return &clientSecret{read: func(context.Context) (string, error) { return value, nil }}
}

// ClientSecretFile is a secret in a file, white space around it aside. The file
// may be replaced at any time.
func ClientSecretFile(path string) Credential {
	return &clientSecret{read: func(context.Context) (string, error) { return ReadSecret(path) }}
}

// ClientSecretCommand is a secret that a command prints, white space around it
// aside. The command is run without a shell, with nothing to read, and may take
// ten seconds; those who wait for it at the same time share one run.
func ClientSecretCommand(argv []string) Credential {
	return &clientSecret{read: newShared(func(ctx context.Context) (string, error) { return runForSecret(ctx, argv, commandTimeout) }).get}
}

type clientSecret struct {
	end
	refusal
	read func(context.Context) (string, error)
}

func (c *clientSecret) fetch(ctx context.Context, r request) (*oauth2.Token, error) {
	secret, err := c.read(ctx)
	if err != nil {
		return nil, unreadable(ctx, "client secret", err)
	}
	token, err := c.post(r, secret, func() (*oauth2.Token, error) { return r.postSecret(ctx, secret) })
	if err == nil {
		c.note(time.Time{})
	} else if e, ok := errors.AsType[*o365.Error](err); ok && e.Code == codeSecretExpired && c.Expires().IsZero() {
		c.note(time.Now())
	}
	return token, err
}

const (
	commandTimeout = 10 * time.Second
	// commandGrace is how long what a command has left behind may keep its output open.
	commandGrace = time.Second
	// maxComplaint is how much of what a command says about its failure is kept, in bytes.
	maxComplaint = 16 << 10
	// minHidden is how long an argument must be to be kept out of a complaint, in bytes: -n and the like tell nothing.
	minHidden = 4
)

// runForSecret runs a command and returns what it prints. What it prints never
// goes into an error, nor do its arguments; what it complains of does, unless
// it has printed something, which might be in there as well.
func runForSecret(parent context.Context, argv []string, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	command := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // the user's configuration names it
	// A process group of its own, so that what it starts ends with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	killGroup := func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.Cancel, command.WaitDelay = killGroup, commandGrace
	printed, complaint := &capped{most: maxSecretFile, full: cancel}, &capped{most: maxComplaint, full: func() {}}
	command.Stdout, command.Stderr = printed, complaint
	closeOnExec()
	err := command.Run()
	if command.Process != nil {
		_ = killGroup() // what it has left behind; mostly there is nothing
	}
	switch {
	case parent.Err() != nil:
		return "", parent.Err()
	case printed.over:
		return "", fmt.Errorf("%s printed more than %d bytes", argv[0], maxSecretFile)
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s took longer than %v", argv[0], timeout)
	case errors.Is(err, exec.ErrWaitDelay):
		return "", fmt.Errorf("%s left processes behind that keep its output open", argv[0])
	case err != nil:
		if line := firstLine(withoutArguments(string(complaint.kept), argv[1:])); line != "" && len(printed.kept) == 0 {
			return "", fmt.Errorf("%s: %w: %s", argv[0], err, line)
		}
		return "", fmt.Errorf("%s: %w", argv[0], err)
	}
	secret, err := trimSecret(printed.kept)
	if err != nil {
		return "", fmt.Errorf("%s printed nothing", argv[0])
	}
	return secret, nil
}

// closeOnExec keeps the files of this process from the commands that it runs:
// a host opens its own, sockets and databases, without that flag.
func closeOnExec() {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // there is none but on Linux
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// withoutArguments takes a command's arguments out of its complaint, and what
// stands behind the = in them: a password may be among them.
func withoutArguments(complaint string, arguments []string) string {
	var hidden []string
	for _, a := range arguments {
		_, value, _ := strings.Cut(a, "=")
		hidden = append(hidden, a, value)
	}
	slices.SortFunc(hidden, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	for _, text := range hidden {
		if len(text) >= minHidden {
			complaint = strings.ReplaceAll(complaint, text, "[argument]")
		}
	}
	return complaint
}

// capped keeps the beginning of what is written to it.
type capped struct {
	kept []byte
	most int
	over bool
	full func() // called when there is more
}

func (c *capped) Write(p []byte) (int, error) {
	room := min(len(p), c.most-len(c.kept))
	c.kept = append(c.kept, p[:room]...)
	if room < len(p) {
		c.over = true
		c.full()
	}
	return len(p), nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}

// SplitCommand splits a command line into words, at spaces and tabs. What
// stands in double or single quotes belongs to one word, as it is. There is
// nothing else to it: no escapes, no variables, no shell.
func SplitCommand(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	begun := false
	var quote rune
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote, begun = c, true
		case c == ' ' || c == '\t':
			if begun {
				words = append(words, word.String())
				word.Reset()
			}
			begun = false
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	switch {
	case quote != 0:
		return nil, fmt.Errorf("a quote %c is not closed", quote)
	case begun:
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("it names no program")
	}
	return words, nil
}
