//go:build js && wasm

package main

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/open-policy-agent/opa/v1/topdown"
)

// evalBounds is what one evaluation may take at most.
type evalBounds struct {
	Milliseconds int `json:"milliseconds"`
	// Bytes of memory beyond what the program has at the start of the evaluation.
	Bytes uint64 `json:"bytes"`
}

// pollsPerLook is how often the interpreter asks, once for each expression, between two looks at clock and memory.
const pollsPerLook = 256

// watched ends an evaluation that takes too much. The interpreter asks it itself: nothing else runs meanwhile.
type watched struct {
	deadline time.Time
	memory   uint64
	bounds   evalBounds
	polls    int
	reason   string
}

func watch(bounds evalBounds) *watched {
	return &watched{
		deadline: time.Now().Add(time.Duration(bounds.Milliseconds) * time.Millisecond),
		memory:   mappedBytes() + bounds.Bytes,
		bounds:   bounds,
	}
}

// Cancel ends the evaluation from outside, which nobody does; OPA's interface asks for it.
func (w *watched) Cancel() {
	w.reason = "the evaluation was ended"
}

// Cancelled tells the interpreter whether to stop.
func (w *watched) Cancelled() bool {
	w.polls++
	if w.reason == "" && w.polls%pollsPerLook == 0 {
		w.look()
	}
	return w.reason != ""
}

func (w *watched) look() {
	switch {
	case time.Now().After(w.deadline):
		w.reason = fmt.Sprintf("the evaluation took longer than %d ms", w.bounds.Milliseconds)
	case mappedBytes() > w.memory:
		w.reason = fmt.Sprintf("the evaluation took more than %d bytes of memory", w.bounds.Bytes)
	}
}

func mappedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// traceBounds is what the trace of one test may take: the way to where it fails, or the beginning of one that has no end.
var traceBounds = evalBounds{Milliseconds: 500, Bytes: 67_108_864}

// eventsPerYield is how many steps of an evaluation pass between two moments in which its time may be found to be over.
const eventsPerYield = 1024

// yielding lets timers run in the middle of an evaluation, which nothing else here does: without it, OPA's own timeout of
// a test would be noticed at its end.
type yielding struct {
	events int
}

func (y *yielding) Enabled() bool {
	return true
}

func (y *yielding) TraceEvent(topdown.Event) {
	y.events++
	if y.events%eventsPerYield == 0 {
		runtime.Gosched()
	}
}

func (y *yielding) Config() topdown.TraceConfig {
	return topdown.TraceConfig{}
}
