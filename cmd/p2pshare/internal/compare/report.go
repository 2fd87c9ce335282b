package compare

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
)

// Files are what Write made.
type Files struct {
	SVG string `json:"svg"`
	PNG string `json:"png"`
	CSV string `json:"csv"`
}

// Write puts the plot and the figures into the folder.
func Write(dir string, c Config, rows []Row) (Files, error) {
	files := Files{
		SVG: filepath.Join(dir, "compare.svg"),
		PNG: filepath.Join(dir, "compare.png"),
		CSV: filepath.Join(dir, "compare.csv"),
	}
	if err := writeCSV(files.CSV, rows); err != nil {
		return files, fmt.Errorf("write the figures: %w", err)
	}
	p, err := draw(c, rows)
	if err != nil {
		return files, fmt.Errorf("draw the plot: %w", err)
	}
	for _, path := range []string{files.SVG, files.PNG} {
		if err := p.Save(plotWidth, plotHeight, path); err != nil {
			return files, fmt.Errorf("write the plot: %w", err)
		}
	}
	return files, nil
}

// columns of the table and of the file, whose figures are the same.
var columnsForm = []string{"peers", "central s", "central bound s", "peer-to-peer s", "lower bound s", "ratio", "gain", "seeder copies"}

func (r Row) cells() []string {
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
	return []string{
		strconv.Itoa(r.Peers), f(r.Central), f(r.CentralBound), f(r.PeerToPeer), f(r.Bound), f(r.Ratio), f(r.Gain), f(r.SeederCopies),
	}
}

func writeCSV(path string, rows []Row) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	err = w.Write(columnsForm)
	for _, r := range rows {
		err = errors.Join(err, w.Write(r.cells()))
	}
	w.Flush()
	return errors.Join(err, w.Error(), f.Close())
}

// Table prints the rows for a person.
func Table(out io.Writer, rows []Row) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(cells []string) {
		for _, c := range cells {
			fmt.Fprint(w, c, "\t")
		}
		fmt.Fprintln(w)
	}
	line(columnsForm)
	for _, r := range rows {
		line(r.cells())
	}
	return w.Flush()
}
