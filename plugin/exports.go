package main

/*
#include <stddef.h>
#include <stdint.h>
*/
import "C"

import (
	"syscall"
	"unsafe"

	"github.com/fluent/fluent-bit-go/input"

	"in_office365/plugin/monitor"
)

// The functions below are looked up by name (Fluent Bit v5.1.1
// src/flb_plugin_proxy.c:480, src/proxy/go/go.c:173). From Init to Exit each is
// called on the thread of the instance it is meant for.

const (
	pluginName        = "office365"
	pluginDescription = "Office 365 Management Activity API"
)

// plugin is the only state of the library. It survives hot reload, since a Go
// library is never unloaded.
var plugin = newShim(opener{monitor.New(version)}.open)

// FLBPluginPreRegister is called before FLBPluginRegister, hotReload being 1
// while the previous generation of instances still runs.
//
//export FLBPluginPreRegister
func FLBPluginPreRegister(hotReload C.int) C.int {
	return input.FLB_OK
}

// FLBPluginRegister writes type, proxy, flags, name and description and nothing
// else: before v4.2.3 the definition ends there.
//
//export FLBPluginRegister
func FLBPluginRegister(def unsafe.Pointer) C.int {
	defer containUnlogged("FLBPluginRegister")
	return C.int(input.FLBPluginRegister(def, pluginName, pluginDescription))
}

// FLBPluginUnregister frees the name and description of a definition.
//
//export FLBPluginUnregister
func FLBPluginUnregister(def unsafe.Pointer) {
	defer containUnlogged("FLBPluginUnregister")
	input.FLBPluginUnregister(def)
}

// FLBPluginInit sets up one instance. The host waits for it without a timeout.
//
//export FLBPluginInit
func FLBPluginInit(p unsafe.Pointer) C.int {
	if !plugin.init(newFluentBit(p), syscall.Gettid()) {
		return input.FLB_ERROR
	}
	return input.FLB_OK
}

// FLBPluginInputPreRun is called once, when the whole pipeline stands.
//
//export FLBPluginInputPreRun
func FLBPluginInputPreRun(hotReload C.int) C.int {
	plugin.preRun(syscall.Gettid())
	return input.FLB_OK
}

// FLBPluginInputCallback asks for a batch, on hosts before v4.1.0.
//
//export FLBPluginInputCallback
func FLBPluginInputCallback(data *unsafe.Pointer, size *C.size_t) C.int {
	return FLBPluginInputCallbackCtx(0, data, size)
}

// FLBPluginInputCallbackCtx asks for a batch. Any answer but FLB_OK loses data
// or memory (Fluent Bit v5.1.1 src/flb_plugin_proxy.c:83); no batch is size 0.
//
//export FLBPluginInputCallbackCtx
func FLBPluginInputCallbackCtx(handle C.uintptr_t, data *unsafe.Pointer, size *C.size_t) C.int {
	batch := plugin.collect(uintptr(handle), syscall.Gettid())
	*data, *size = unsafe.Pointer(unsafe.SliceData(batch)), C.size_t(len(batch))
	return input.FLB_OK
}

// FLBPluginInputCleanupCallback says that a batch was copied, on hosts before v4.1.0.
//
//export FLBPluginInputCleanupCallback
func FLBPluginInputCleanupCallback(data unsafe.Pointer) C.int {
	return FLBPluginInputCleanupCallbackCtx(0, data)
}

// FLBPluginInputCleanupCallbackCtx says that the batch at data was copied.
//
//export FLBPluginInputCleanupCallbackCtx
func FLBPluginInputCleanupCallbackCtx(handle C.uintptr_t, data unsafe.Pointer) C.int {
	plugin.release(uintptr(handle), syscall.Gettid(), data)
	return input.FLB_OK
}

// office365Woken is called by the event collector of an input, when its waker has
// asked for it.
//
//export office365Woken
func office365Woken(ins, config, context unsafe.Pointer) C.int {
	plugin.woken(syscall.Gettid())
	return 0
}

// FLBPluginInputPause says that the host takes no more for now. It comes twice
// at shutdown.
//
//export FLBPluginInputPause
func FLBPluginInputPause() {
	plugin.pause(syscall.Gettid())
}

// FLBPluginInputResume ends a pause.
//
//export FLBPluginInputResume
func FLBPluginInputResume() {
	plugin.resume(syscall.Gettid())
}

// FLBPluginInputPreExit announces FLBPluginExit.
//
//export FLBPluginInputPreExit
func FLBPluginInputPreExit(hotReload C.int) {
	plugin.preExit(syscall.Gettid())
}

// FLBPluginExit ends the instance of the calling thread.
//
//export FLBPluginExit
func FLBPluginExit() C.int {
	plugin.exit(syscall.Gettid())
	return input.FLB_OK
}
