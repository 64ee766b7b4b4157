package main

import (
	"errors"
	"fmt"
	"log/slog"

	"in_office365/plugin/config"
	"in_office365/plugin/hostfile"
	"in_office365/plugin/pitfalls"
)

// configure reads the properties of the instance and, in the file that Fluent Bit was started with, what Fluent Bit does not tell a plugin:
// which keys were written, and what becomes of the records. Where that cannot be known, it says so at debug and goes on.
func configure(h host, log *slog.Logger, file func() (string, error)) (*config.Config, error) {
	pipeline, in, err := section(h.Name(), file)
	if err != nil {
		log.Debug("Fluent Bit's configuration is not looked at for keys that do not exist, and for what loses records", "reason", err)
		return config.Parse(h)
	}
	cfg, err := config.Parse(written{h, in})
	if err != nil {
		return nil, err
	}
	for _, f := range pitfalls.Find(pipeline, in, cfg) {
		log.Warn("this configuration loses or repeats records: " + f.String())
	}
	return cfg, nil
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
