package compare

import (
	"fmt"
	"image/color"

	"github.com/dustin/go-humanize"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

const (
	plotWidth  = 7 * vg.Inch
	plotHeight = 5 * vg.Inch
)

// curve is one line of the plot: dashed for what theory says.
type curve struct {
	name   string
	color  color.Color
	dashed bool
	y      func(Row) float64
}

func curves() []curve {
	red, blue := color.RGBA{R: 0xc0, G: 0x39, B: 0x2b, A: 0xff}, color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}
	return []curve{
		{"central server", red, false, func(r Row) float64 { return r.Central }},
		{"central server, lower bound", red, true, func(r Row) float64 { return r.CentralBound }},
		{"peer to peer", blue, false, func(r Row) float64 { return r.PeerToPeer }},
		{"peer to peer, lower bound", blue, true, func(r Row) float64 { return r.Bound }},
	}
}

// draw plots distribution time over the number of peers.
func draw(c Config, rows []Row) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("Time until every client has %s, links of %s/s up and %s/s down",
		humanize.IBytes(uint64(c.Size)), humanize.IBytes(uint64(c.Uplink)), humanize.IBytes(uint64(c.Downlink)))
	p.X.Label.Text, p.Y.Label.Text = "clients", "distribution time (s)"
	p.X.Min, p.Y.Min = 0, 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for _, curve := range curves() {
		points := make(plotter.XYs, len(rows))
		for i, r := range rows {
			points[i] = plotter.XY{X: float64(r.Peers), Y: curve.y(r)}
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = curve.color, vg.Points(1.5)
		dots.Color = curve.color
		p.Legend.Add(curve.name, line)
		if curve.dashed {
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
			p.Add(line)
			continue
		}
		p.Add(line, dots)
	}
	p.X.Min, p.Y.Min = 0, 0
	p.Y.Max *= 1.15 // room for the legend
	return p, nil
}
