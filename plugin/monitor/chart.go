package monitor

import (
	"fmt"

	"in_office365/plugin/collector"
)

// charts draws what came in each minute.
func charts(h *collector.History) (blobs, records chart) {
	var b, r [len(h)]uint64
	for i := range h {
		b[i], r[i] = uint64(h[i].Blobs), uint64(h[i].Records)
	}
	return newChart(b[:], "blob"), newChart(r[:], "record")
}

func newChart(minutes []uint64, thing string) chart {
	const height = 24 // as the template's viewBox, in which a minute is 2 wide
	var total, most uint64
	for _, n := range minutes {
		total += n
		most = max(most, n)
	}
	c := chart{Total: number(int64(total)), Title: "no " + thing + " in the last hour"}
	if total == 0 {
		return c
	}
	c.Title = fmt.Sprintf("%s in the last hour, %s a minute at most", count(int64(total), thing), number(int64(most)))
	path, last := []byte("M0 24"), uint64(0)
	for i, n := range minutes {
		high := (n*height + most - 1) / most // what is little is seen beside much
		if high != last {
			path = fmt.Appendf(path, "H%dV%d", 2*i, height-high)
		}
		last = high
	}
	path = fmt.Appendf(path, "H%dV24z", 2*len(minutes))
	c.Path = string(path)
	return c
}
