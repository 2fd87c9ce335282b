package progress

import (
	"io"
	"sync/atomic"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/p2pshare/p2pshare/protocol"
)

// nameWidth is how many columns a file's name gets beside its bar.
const nameWidth = 28

// Bars draws a bar for each task on a terminal and takes it away at the end.
type Bars struct {
	w     io.Writer
	opts  []mpb.ContainerOption
	bars  map[Task]*bar
	board atomic.Pointer[board] // nil while nothing is drawn
}

// board is the lines of all bars at a time; gone is closed when they are.
type board struct {
	*mpb.Progress
	gone chan struct{}
}

// bar is one line: the library draws it from its own goroutine, hence the pointer.
type bar struct {
	*mpb.Bar
	last *atomic.Pointer[Snapshot]
}

// NewBars returns a renderer that draws on w.
func NewBars(w io.Writer, opts ...mpb.ContainerOption) *Bars {
	return &Bars{w: w, opts: append([]mpb.ContainerOption{mpb.WithOutput(w), mpb.WithWidth(64)}, opts...), bars: make(map[Task]*bar)}
}

// Update moves the bar of the task, which is drawn from its first update on.
func (b *Bars) Update(t Task, s Snapshot) {
	line, drawn := b.bars[t]
	if !drawn {
		line = b.add(t, s)
		b.bars[t] = line
	}
	line.last.Store(&s)
	line.SetTotal(max(1, s.Total), false)
	line.SetCurrent(s.Done)
}

func (b *Bars) add(t Task, s Snapshot) *bar {
	all := b.board.Load()
	if all == nil {
		all = &board{Progress: mpb.New(b.opts...), gone: make(chan struct{})}
		b.board.Store(all)
	}
	last := new(atomic.Pointer[Snapshot])
	last.Store(&s)
	name := runewidth.FillRight(runewidth.Truncate(protocol.Printable(t.Name), nameWidth, "…"), nameWidth)
	// A total of zero leaves it to End when the bar goes, also at 100 %.
	return &bar{last: last, Bar: all.New(0, mpb.BarStyle(),
		// What a user types meanwhile is echoed and moves the cursor; each row
		// begins at the left again.
		mpb.PrependDecorators(decor.Name("\r"+name+" ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + last.Load().Describe(t.Kind) })),
	)}
}

// End takes the bar away, and the whole board with the last one.
func (b *Bars) End(t Task) {
	line, drawn := b.bars[t]
	if !drawn {
		return
	}
	line.Abort(true)
	delete(b.bars, t)
	if len(b.bars) == 0 {
		if all := b.board.Load(); all != nil {
			all.Wait()
			_, _ = io.WriteString(b.w, "\r\x1b[J") // what was typed meanwhile
			b.board.Store(nil)
			close(all.gone)
		}
	}
}

// Note writes the line above the bars.
func (b *Bars) Note(line string) {
	text := []byte(line + "\n")
	if all := b.board.Load(); all != nil {
		if _, err := all.Write(text); err == nil {
			return
		}
		<-all.gone // the last drawing must not mix with it
	}
	_, _ = b.w.Write(text)
}

// Close takes all bars away.
func (b *Bars) Close() {
	for t := range b.bars {
		b.End(t)
	}
}
