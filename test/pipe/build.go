package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// builder has the plugins that are measured.
type builder struct {
	dir     string
	plugin  string // as it is delivered
	symbols bool   // build it anew with symbols, for a profile
	built   map[way]string
}

// pluginFor returns the shared library for a way, built if need be.
func (b *builder) pluginFor(ctx context.Context, w way) (string, error) {
	if w == ours && !b.symbols {
		return b.plugin, nil
	}
	if path := b.built[w]; path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp(b.dir, "plugin")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "in_office365.so")
	args := []string{"build", "-trimpath", "-tags", "netgo,osusergo", "-buildmode=c-shared", "-o", path} // as in the Makefile
	if !b.symbols {
		args = append(args, "-ldflags", "-s -w")
	}
	if w == obvious {
		overlay, err := writeOverlay(dir)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	build := exec.CommandContext(ctx, "go", append(args, "./plugin")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the plugin, %s: %w\n%s", w, err, out)
	}
	if b.built == nil {
		b.built = map[way]string{}
	}
	b.built[w] = path
	return path, nil
}

// writeOverlay tells the go command to take the obvious way in place of normalize's.
func writeOverlay(dir string) (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(root, "normalize", "append.go"): filepath.Join(root, "test", "pipe", "testdata", "append.go"),
	}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}
