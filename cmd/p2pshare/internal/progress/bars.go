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
	board atomic.Pointer[mpb.Progress] // nil while nothing is drawn
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
	board := b.board.Load()
	if board == nil {
		board = mpb.New(b.opts...)
		b.board.Store(board)
	}
	last := new(atomic.Pointer[Snapshot])
	last.Store(&s)
	name := runewidth.FillRight(runewidth.Truncate(protocol.Printable(t.Name), nameWidth, "…"), nameWidth)
	// A total of zero leaves it to End when the bar goes, also at 100 %.
	return &bar{last: last, Bar: board.New(0, mpb.BarStyle(),
		mpb.PrependDecorators(decor.Name(name+" ")),
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
		if board := b.board.Swap(nil); board != nil {
			board.Wait()
		}
	}
}

// Note writes the line above the bars.
func (b *Bars) Note(line string) {
	text := []byte(line + "\n")
	if board := b.board.Load(); board != nil {
		if _, err := board.Write(text); err == nil {
			return
		}
	}
	_, _ = b.w.Write(text)
}

// Close takes all bars away.
func (b *Bars) Close() {
	for t := range b.bars {
		b.End(t)
	}
}
