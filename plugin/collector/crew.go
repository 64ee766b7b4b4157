package collector

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"in_office365/plugin/diagnosis"
)

// restartDelay is how long a goroutine that panicked rests.
const restartDelay = 5 * time.Second

// crew owns goroutines that end together.
type crew struct {
	c      *Collector
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

func newCrew(parent context.Context, c *Collector) *crew {
	w := &crew{c: c}
	w.ctx, w.cancel = context.WithCancel(parent)
	return w
}

// run owns a goroutine until the crew ends. If it panics, that is reported and it begins again.
func (w *crew) run(doing string, work func(context.Context)) {
	w.group.Go(func() {
		for w.c.contained(w.ctx, doing, work) != nil {
			if !sleep(w.ctx, restartDelay) {
				return
			}
		}
	})
}

// errPanic is how a contained panic is told from other errors.
var errPanic = errors.New("internal error")

// contained turns a panic into an error, and logs it with its stack: once for each thing done, then ever more rarely.
func (c *Collector) contained(ctx context.Context, doing string, work func(context.Context)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
			c.stats.panics.Add(1)
			if _, due, details := c.panics.note(diagnosis.Kind(doing), ""); due {
				c.log.Error("panic while "+doing+", please report it: "+fmt.Sprint(p), append(details, "stack", string(debug.Stack()))...)
			}
		}
	}()
	work(ctx)
	return nil
}

// sleep returns false if ctx ends before the time is over.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
