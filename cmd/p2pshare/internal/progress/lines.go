package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// Paces of the renderers that write to files and programs: a line every few
// seconds is enough to read in a log, and a program that draws its own bars
// wants several updates a second.
const (
	LineEvery = 5 * time.Second
	JSONEvery = 200 * time.Millisecond
)

// shown is what has been written about a task.
type shown struct {
	last   Snapshot
	reason string
	at     time.Time
	wrote  bool
}

// Lines writes a plain line for each task every few seconds.
type Lines struct {
	w     io.Writer
	now   func() time.Time
	tasks map[Task]*shown
}

// NewLines returns a renderer that writes to w; now is the clock.
func NewLines(w io.Writer, now func() time.Time) *Lines {
	return &Lines{w: w, now: now, tasks: make(map[Task]*shown)}
}

// Update writes a line if the last one is LineEvery old, and at once when the
// reason for waiting is a new one. What is over within LineEvery is silent.
func (l *Lines) Update(t Task, s Snapshot) {
	was, known := l.tasks[t]
	if !known {
		was = &shown{at: l.now()}
		l.tasks[t] = was
	}
	if now := l.now(); now.Sub(was.at) >= LineEvery || (s.Reason != was.reason && s.Waits()) {
		was.at = now
		l.Note(fmt.Sprintf("%s %s: %s", t.Kind, protocol.Printable(t.Name), s.Describe(t.Kind)))
	}
	was.reason = s.Reason
}

// End forgets the task.
func (l *Lines) End(t Task) { delete(l.tasks, t) }

// Note writes the line.
func (l *Lines) Note(line string) { _, _ = io.WriteString(l.w, line+"\n") }

// Close forgets all tasks.
func (l *Lines) Close() { clear(l.tasks) }

// JSON writes an object a line for each update.
type JSON struct {
	w     io.Writer
	now   func() time.Time
	tasks map[Task]*shown
}

// NewJSON returns a renderer that writes to w; now is the clock.
func NewJSON(w io.Writer, now func() time.Time) *JSON {
	return &JSON{w: w, now: now, tasks: make(map[Task]*shown)}
}

// Object is what JSON writes: Progress names the kind of task.
type Object struct {
	Progress Kind    `json:"progress"`
	Group    string  `json:"group"`
	Name     string  `json:"name"`
	State    string  `json:"state,omitempty"`
	Reason   string  `json:"reason,omitempty"`
	Size     int64   `json:"size"`
	Done     int64   `json:"done"`
	Rate     int64   `json:"rate"`
	Peers    int     `json:"peers"`
	ETA      float64 `json:"eta"`
}

// Update writes the first update of a task, then one every JSONEvery, and one
// at once when the reason for waiting changes.
func (j *JSON) Update(t Task, s Snapshot) {
	was, known := j.tasks[t]
	if !known {
		was = &shown{}
		j.tasks[t] = was
	}
	was.last = s
	now := j.now()
	was.wrote = !known || now.Sub(was.at) >= JSONEvery || s.Reason != was.reason
	if was.wrote {
		was.at, was.reason = now, s.Reason
		j.write(t, s)
	}
}

// End writes the last update if that was held back.
func (j *JSON) End(t Task) {
	if was, known := j.tasks[t]; known && !was.wrote {
		j.write(t, was.last)
	}
	delete(j.tasks, t)
}

func (j *JSON) write(t Task, s Snapshot) {
	j.object(Object{
		Progress: t.Kind, Group: t.Group, Name: t.Name, State: s.State, Reason: s.Reason,
		Size: s.Total, Done: s.Done, Rate: int64(s.Rate), Peers: s.Peers, ETA: s.ETA.Seconds(),
	})
}

// Note writes {"notice": line}.
func (j *JSON) Note(line string) {
	j.object(struct {
		Notice string `json:"notice"`
	}{line})
}

func (j *JSON) object(v any) {
	if b, err := json.Marshal(v); err == nil {
		_, _ = j.w.Write(append(b, '\n'))
	}
}

// Close forgets all tasks.
func (j *JSON) Close() { clear(j.tasks) }
