package main

/*
#include <stdlib.h>
#include "host.h"
*/
import "C"

import (
	"time"
	"unsafe"

	"github.com/fluent/fluent-bit-go/input"

	"in_office365/plugin/collector"
	"in_office365/plugin/handover"
)

// fluentBit is the host as one input instance sees it, from Init to Exit and on
// the instance's thread only.
type fluentBit struct {
	plugin *C.struct_host_plugin // shared by all instances; this one's during Init only
	api    *C.struct_host_api
	ins    unsafe.Pointer

	metrics     C.struct_host_metrics
	engine      *handover.Engine
	synchronous bool
	collector   C.int // of the waker; -1: there is none
}

func newFluentBit(plugin unsafe.Pointer) *fluentBit {
	p := (*C.struct_host_plugin)(plugin)
	return &fluentBit{plugin: p, api: p.api, ins: p.i_ins, collector: -1}
}

// Appends says whether batches can be appended. Else the host takes them by its
// callback. Only during Init.
func (f *fluentBit) Appends() bool {
	if C.host_can_append() == 0 {
		return false
	}
	f.engine = handover.FindEngine()
	f.synchronous = f.engine.IsThisThread()
	return true
}

// LoseEngine has AtRest say that the engine cannot be seen: a thread that it has
// made has its name, as those of Go have that were made in a call on it.
func (f *fluentBit) LoseEngine() { f.engine = &handover.Engine{} }

// WakeOn has the host call the plugin whenever the descriptor can be read, if it
// can. Only during Init.
func (f *fluentBit) WakeOn(fd int) bool {
	if C.host_can_append() == 0 || f.synchronous {
		return false
	}
	f.collector = C.host_collect_on(f.ins, C.int(fd))
	return f.collector >= 0
}

// StopWaking takes the descriptor out of the host's event loop.
func (f *fluentBit) StopWaking() {
	if f.collector >= 0 {
		C.host_stop_collecting(f.ins, f.collector)
	}
}

// Append implements handover.Host.
func (f *fluentBit) Append(batch []byte) bool {
	return C.host_append(f.ins, unsafe.Pointer(unsafe.SliceData(batch)), C.size_t(len(batch))) == 0
}

// Synchronous implements handover.Host.
func (f *fluentBit) Synchronous() bool { return f.synchronous }

// Metrics implements handover.Host.
func (f *fluentBit) Metrics() (handover.Metrics, bool) {
	text := C.host_metrics_text(f.ins)
	if text == nil {
		return handover.Metrics{}, false
	}
	defer C.host_free_text(text)
	m, ok := handover.ParseMetrics(C.GoString(text))
	m.BehindFilters = C.host_counts_before_filters() == 0
	return m, ok
}

// AtRest implements handover.Host.
func (f *fluentBit) AtRest() (rest, known bool) { return f.engine.AtRest() }

// Get is the value of a property, "" when it is absent or empty. Only during Init.
func (f *fluentBit) Get(key string) string {
	return input.FLBPluginConfigKey(unsafe.Pointer(f.plugin), key)
}

// Name is the instance's alias or name, "" on a host that does not tell.
func (f *fluentBit) Name() string {
	return C.GoString(C.host_input_name(f.ins))
}

// SetHandle makes the host return handle with each ...Ctx callback, where it can
// (since v4.1.0). Only during Init.
func (f *fluentBit) SetHandle(handle uintptr) {
	C.host_set_context(f.plugin, C.uintptr_t(handle))
}

// MakeMetrics adds figures to Fluent Bit's own metrics, where it can. Only during Init.
func (f *fluentBit) MakeMetrics() {
	f.metrics = C.host_make_metrics(f.ins, C.uint64_t(time.Now().UnixNano()))
}

// SetMetrics shows figures in Fluent Bit's own metrics, where MakeMetrics could.
func (f *fluentBit) SetMetrics(n collector.Figures) {
	C.host_set_metrics(f.metrics, f.ins, C.uint64_t(time.Now().UnixNano()),
		C.double(n.Behind.Seconds()), C.double(n.Incomplete), C.double(n.Lost), C.double(n.Gaps))
}

// LogLevel is the finest level that the instance is configured to log at.
func (f *fluentBit) LogLevel() hostLevel {
	return hostLevel(C.host_log_level(f.api, f.ins))
}

// Print writes one line to the host's log. The host does not filter.
func (f *fluentBit) Print(level hostLevel, text string) {
	c := C.CString(text)
	defer C.free(unsafe.Pointer(c))
	C.host_log(f.api, C.int(level), c)
}

// cMemory hands out memory of the C heap: the host reads batches after the
// callback has returned, which it may not do with memory of the Go heap.
type cMemory struct{}

// Alloc returns n bytes, not cleared. Like any Go allocation it ends the process
// when there is no memory (C.malloc never returns nil).
func (cMemory) Alloc(n int) []byte {
	return unsafe.Slice((*byte)(C.malloc(C.size_t(n))), n)
}

// Free gives back what Alloc returned; b must begin where that began.
func (cMemory) Free(b []byte) {
	C.free(unsafe.Pointer(unsafe.SliceData(b)))
}
