package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"in_office365/plugin/config"
	"in_office365/plugin/handover"
	"in_office365/plugin/hostfile"
	"in_office365/plugin/pitfalls"
	"in_office365/plugin/storage"
)

// configure reads the properties of the instance and, in the file that Fluent Bit was started with, what Fluent Bit does not tell a plugin:
// which keys were written, and what becomes of the records. Where that cannot be known, it says so at debug and goes on.
func configure(h host, log *slog.Logger, file func() (string, error)) (*config.Config, behind, error) {
	pipeline, in, err := section(h.Name(), file)
	if err != nil {
		log.Debug("Fluent Bit's configuration is not looked at for keys that do not exist, and for what loses records", "reason", err)
		cfg, err := config.Parse(h)
		if err != nil {
			return nil, behind{}, err
		}
		if cfg.StoragePath != "" {
			return cfg, behind{room: &storage.Volume{Path: cfg.StoragePath}}, nil
		}
		return cfg, behind{room: &storage.Unknown{Input: h.Name()}}, nil
	}
	cfg, err := config.Parse(written{h, in})
	if err != nil {
		return nil, behind{}, err
	}
	for _, f := range pitfalls.Find(pipeline, in, cfg) {
		log.Warn("this configuration loses or repeats records: " + f.String())
	}
	var b behind
	volume := storage.Of(pipeline, in)
	if cfg.StoragePath != "" {
		volume = cmp.Or(volume, &storage.Volume{})
		volume.Path = cfg.StoragePath
	}
	if volume != nil {
		b.room = volume
		cfg.BatchSize = volume.BatchSize(cfg.BatchSize)
	}
	switch {
	case in.Processors:
		b.noReceipts = "the input has processors, and what they drop Fluent Bit does not count"
	case in.Routes: // src/flb_input_log.c of v5.1.1 appends for each route
		b.noReceipts = "the input has routes, and Fluent Bit counts what each of them takes"
	}
	b.ringEntries, _ = strconv.Atoi(in.Get("thread.ring_buffer.capacity")) // 0, as by default, where it is not a number either
	return cfg, b, nil
}

// behind is what is known of the way of records behind the input.
type behind struct {
	room        handover.Room // nil: chunks are in memory only
	ringEntries int           // of the input; 0: as by default
	noReceipts  string        // why Fluent Bit's count tells nothing; empty: it may
}

// section finds the instance in the file.
func section(name string, file func() (string, error)) (*hostfile.Pipeline, *hostfile.Input, error) {
	if name == "" {
		return nil, nil, errors.New("this Fluent Bit does not tell what the input is called")
	}
	path, err := file()
	if err != nil {
		return nil, nil, err
	}
	pipeline, err := hostfile.ReadPipeline(path)
	if err != nil {
		return nil, nil, err
	}
	in := pipeline.Input(name)
	if in == nil || in.Plugin != pluginName {
		return nil, nil, fmt.Errorf("%s has no input %s that is called %s", path, pluginName, name)
	}
	return pipeline, in, nil
}

// written is an instance whose keys are known from the file.
type written struct {
	host
	in *hostfile.Input
}

// PluginKeys lists those that Fluent Bit has handed over: what it keeps to itself, in whatever version, is none of the plugin's.
func (w written) PluginKeys() (keys []string) {
	for _, key := range w.in.PluginKeys() {
		if w.Get(key) != "" {
			keys = append(keys, key)
		}
	}
	return keys
}
