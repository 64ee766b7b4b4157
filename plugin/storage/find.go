package storage

import (
	"cmp"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"in_office365/plugin/hostfile"
)

// Of is where the chunks of an input go by the configuration, nil: into memory only.
func Of(p *hostfile.Pipeline, in *hostfile.Input) *Volume {
	kind := in.Get("storage.type")
	if kind == "" && isOn(p.Service.Get("storage.inherit")) { // from v4.1 on
		kind = p.Service.Get("storage.type")
	}
	path := p.Service.Get("storage.path")
	if !strings.EqualFold(kind, "filesystem") || path == "" {
		return nil
	}
	v := &Volume{Path: path}
	for _, output := range p.Outputs {
		limit, ok := bytesOf(output.Get("storage.total_limit_size"))
		if takes, known := output.Takes(in.Tag()); !ok || known && !takes {
			continue
		}
		// Copies of chunks that an output has rejected count for none (src/flb_storage.c, storage.keep.rejected).
		rejected := cmp.Or(p.Service.Get("storage.rejected.path"), "rejected")
		l := Limit{Output: output.Label(), Size: limit, Except: map[string]bool{filepath.Base(rejected): true}}
		for _, other := range p.Inputs {
			if takes, known := output.Takes(other.Tag()); known && !takes {
				l.Except[other.Name] = true
			}
		}
		v.Limits = append(v.Limits, l)
	}
	return v
}

func isOn(v string) bool {
	switch strings.ToLower(v) {
	case "on", "true", "yes": // src/flb_utils.c:757
		return true
	}
	return false
}

// bytesOf reads a size above 0 (src/flb_utils.c:527): a suffix counts thousands.
func bytesOf(size string) (bytes int64, ok bool) {
	number, unit := strings.TrimSuffix(strings.ToUpper(size), "B"), 1.0
	for suffix, of := range map[string]float64{"K": 1e3, "M": 1e6, "G": 1e9} {
		if n, found := strings.CutSuffix(number, suffix); found {
			number, unit = n, of
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	return int64(n * unit), err == nil && n > 0
}

// lookInterval is how often it is looked for chunks that are mapped.
const lookInterval = 10 * time.Second

// Unknown is for a host whose configuration cannot be read: the volume is found by the first chunk that is mapped into memory. Until then,
// and where chunks are in memory only, there is room.
type Unknown struct {
	Input string // its name, such as office365.0

	volume *Volume
	next   time.Time
}

// OnDisk says that chunks are known to be kept on a volume.
func (u *Unknown) OnDisk() bool { return u.volume != nil }

// Check says why there is no room for n more bytes; nil: there is, as far as is known.
func (u *Unknown) Check(n int) error {
	if now := time.Now(); u.volume == nil && !now.Before(u.next) {
		u.next = now.Add(lookInterval)
		if path := Mapped(u.Input); path != "" {
			u.volume = &Volume{Path: path}
		}
	}
	if u.volume == nil {
		return nil
	}
	return u.volume.Check(n)
}
