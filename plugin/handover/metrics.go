package handover

import (
	"strconv"
	"strings"
)

// Names of the host's metrics of an input (Fluent Bit v5.1.1 src/flb_input.c:1612 and :1699).
const (
	metricRecords = "fluentbit_input_records_total"
	metricMemory  = "fluentbit_input_storage_memory_bytes"
)

// ParseMetrics reads the text of an input's metrics, which has a line for each:
//
//	2026-12-01T03:32:30.123456789Z fluentbit_input_records_total{name="office365.0"} = 12
//
// It returns false if there is no count of records.
func ParseMetrics(text string) (m Metrics, ok bool) {
	for line := range strings.Lines(text) {
		at, rest, found := strings.Cut(line, " ")
		if !found {
			continue
		}
		name, _, _ := strings.Cut(rest, "{")
		if name != metricRecords && name != metricMemory {
			continue
		}
		_, number, found := cutLast(strings.TrimSpace(rest), " = ")
		value, err := strconv.ParseFloat(number, 64)
		if !found || err != nil || value < 0 {
			continue
		}
		if name == metricRecords {
			m.Records, ok = int64(value), true
		} else {
			m.Memory, m.Renewed = int64(value), at
		}
	}
	return m, ok
}

// cutLast is strings.Cut at the last separator: an alias may hold one.
func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}
