package hostfile

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// commandLine is of this process. It keeps what it was started with when it forks, as --supervisor does.
const commandLine = "/proc/self/cmdline"

// ErrNoFile says that there is no configuration file that says all: the command line says a part of it, or names no file.
var ErrNoFile = errors.New("the command line names no file with the whole configuration")

// OfProcess finds the configuration file that this process, a Fluent Bit, was started with. A relative path is relative to the working
// directory, which is that of --workdir by the time that plugins are started (src/fluent-bit.c:1358). There is no default.
func OfProcess() (path string, err error) {
	text, err := os.ReadFile(commandLine)
	if err != nil {
		return "", fmt.Errorf("the command line of Fluent Bit cannot be read: %w", err)
	}
	path, err = configOf(strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"))
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular(): // a pipe has been read, and whoever opens it again may wait for ever
		return "", fmt.Errorf("%s is no regular file", path)
	}
	return path, nil
}

// The options of Fluent Bit v5.1.1 (src/fluent-bit.c:1041, :1132), as getopt_long(3) has them: a colon follows those with an argument.
const shortOptions = "b:c:dDf:C:i:m:M:o:R:r:F:p:e:t:T:l:vw:qVhJL:HP:s:SWYZ"

// longOptions stand for those of shortOptions; "=" is any other with an argument, "" any other without.
var longOptions = map[string]string{
	"storage_path": "b", "config": "c", "daemon": "d", "dry-run": "D", "flush": "f", "http": "H", "supervisor": "", "log_file": "l", "port": "P", "custom": "C",
	"input": "i", "processor": "r", "filter": "F", "output": "o", "match": "m", "parser": "R", "prop": "p", "plugin": "e", "tag": "t", "sp-task": "T",
	"version": "V", "verbose": "v", "workdir": "w", "quiet": "q", "help": "h", "help-json": "J", "coro_stack_size": "s", "sosreport": "S",
	"http_server": "H", "http_listen": "L", "http_port": "P", "enable-hot-reload": "Y", "enable-fips": "", "windows_maxstdio": "M",
	"enable-chunk-trace": "Z", "trace": "=", "trace-input": "=", "trace-output": "=", "trace-output-property": "=", "disable-thread-safety-on-hot-reload": "W",
}

// said are the options that say what a file would, and come before it: sections, which count in the names of instances, and storage.path.
const said = "CiFob"

// configOf is the argument of the last -c among those of Fluent Bit.
func configOf(args []string) (path string, err error) {
	err = eachOption(args[1:], func(option, argument string) error {
		switch {
		case option == "c":
			path = argument
		case option != "" && strings.Contains(said, option):
			return fmt.Errorf("%w: there is -%s", ErrNoFile, option)
		}
		return nil
	})
	if err == nil && path == "" {
		err = fmt.Errorf("%w: there is no -c", ErrNoFile)
	}
	return path, err
}

// eachOption goes through options as getopt_long does: what is none is passed over, and -- ends them.
func eachOption(args []string, use func(option, argument string) error) error {
	next := func() (arg string) {
		if len(args) > 0 {
			arg, args = args[0], args[1:]
		}
		return arg
	}
	for len(args) > 0 {
		arg := next()
		long, isLong := strings.CutPrefix(arg, "--")
		switch {
		case arg == "--":
			return nil
		case isLong:
			name, argument, given := strings.Cut(long, "=")
			option, err := longOption(name)
			if err != nil {
				return err
			}
			if takesArgument(option) && !given {
				argument = next()
			}
			if err := use(option, argument); err != nil {
				return err
			}
		case strings.HasPrefix(arg, "-"):
			for letters := arg[1:]; letters != ""; {
				option, argument := letters[:1], ""
				letters = letters[1:]
				if takesArgument(option) {
					if argument, letters = letters, ""; argument == "" {
						argument = next()
					}
				}
				if err := use(option, argument); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func takesArgument(option string) bool {
	return option == "=" || option != "" && strings.Contains(shortOptions, option+":")
}

// longOption is what a long option stands for, which may be cut short as long as that is one only.
func longOption(name string) (option string, err error) {
	if option, ok := longOptions[name]; ok {
		return option, nil
	}
	found := map[string]bool{}
	for long, short := range longOptions {
		if strings.HasPrefix(long, name) {
			found[short], option = true, short
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%w: --%s is no option of Fluent Bit", ErrNoFile, name)
	}
	return option, nil
}
