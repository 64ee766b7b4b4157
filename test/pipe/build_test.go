package main

import (
	"os"
	"os/exec"
	"testing"
)

func TestTheObviousWayBuilds(t *testing.T) {
	t.Chdir("../..") // where the program runs
	overlay, err := writeOverlay(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", overlay, "./normalize")
	build.Env = append(os.Environ(), "CGO_ENABLED=1") // fluent-bit-go needs it
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
