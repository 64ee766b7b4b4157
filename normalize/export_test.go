package normalize

import "testing"

// GoldenInput is what goes into a golden file's test.
type GoldenInput struct {
	Name    string
	Options Options
	Source  Source
	Record  []byte
}

// GoldenInputs is what goes into the golden files, for tests outside the package.
func GoldenInputs(t testing.TB) []GoldenInput {
	var inputs []GoldenInput
	for _, name := range goldenFiles(t) {
		g := readGolden(t, name)
		inputs = append(inputs, GoldenInput{name, g.options, g.source, g.record})
	}
	return inputs
}
