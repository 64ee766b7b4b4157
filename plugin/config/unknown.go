package config

import (
	"maps"
	"slices"
)

// unknownKey is the first key that was written and that nobody has asked for. Fluent Bit says nothing about those.
func (r *reader) unknownKey() error {
	written, ok := r.stanza.(Lister)
	if !ok {
		return nil
	}
	for _, key := range written.PluginKeys() {
		if !r.asked[key] {
			return &UnknownKeyError{Key: key, Nearest: nearest(key, slices.Sorted(maps.Keys(r.asked)))}
		}
	}
	return nil
}

// mostEdits is how many letters a key that was meant differs in at most, and in no more than half of them.
const mostEdits = 2

// nearest is that of the keys which differs least from a key, "" if all differ by more than a misspelling.
func nearest(key string, keys []string) (found string) {
	least := min(mostEdits, len(key)/2) + 1
	for _, k := range keys {
		if d := distance(key, k); d < least {
			least, found = d, k
		}
	}
	return found
}

// distance is how many letters have to be changed, left out or added to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
