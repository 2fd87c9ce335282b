package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/compare"
	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/progress"
	"github.com/p2pshare/p2pshare/protocol"
)

func compareCommand(std streams) *cli.Command {
	return &cli.Command{
		Name:  "compare",
		Usage: "measure one file to N clients, from one server and from each other, on links of the same rate",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "peers", Value: "1,2,4,8,16", Usage: "numbers of clients, `N,N,...`"},
			&cli.StringFlag{Name: "size", Value: "16MiB", Usage: "`SIZE` of the file"},
			&cli.StringFlag{Name: "uplink", Value: "8MiB", Usage: "what every host can send, `RATE` per second"},
			&cli.StringFlag{Name: "downlink", Usage: "what every host can receive, `RATE` per second (default: as the uplink)"},
			&cli.StringFlag{Name: "out", Value: ".", Usage: "`DIR` for plot and figures"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object instead of the table"},
		},
		Action:          orHelp(std, runCompare),
		OnUsageError:    usageError,
		HideHelpCommand: true,
	}
}

// compareResult is what --json prints.
type compareResult struct {
	Command string `json:"command"`
	OK      bool   `json:"ok"`
	Result  struct {
		Rows  []compare.Row `json:"rows"`
		Files compare.Files `json:"files"`
	} `json:"result"`
}

func runCompare(c *cli.Context, std streams) error {
	cfg, err := compareConfig(c)
	if err != nil {
		return err
	}
	if err := cfg.Check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	shown := &compareShown{Renderer: compareRenderer(c, std)}
	cfg.Progress = shown.update
	rows, err := compare.Run(ctx, cfg)
	shown.Close()
	if ctx.Err() != nil {
		return toldError{ctx.Err()}
	}
	if err != nil {
		return err
	}
	files, err := compare.Write(c.String("out"), cfg, rows)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		r := compareResult{Command: "compare", OK: true}
		r.Result.Rows, r.Result.Files = rows, files
		return json.NewEncoder(std.out).Encode(r)
	}
	if err := compare.Table(std.out, rows); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "\nplot %s, %s\nfigures %s\n", files.SVG, files.PNG, files.CSV)
	return err
}

func compareConfig(c *cli.Context) (cfg compare.Config, err error) {
	if c.NArg() > 0 {
		return cfg, usagef("usage: p2pshare compare [FLAGS]")
	}
	for word := range strings.SplitSeq(c.String("peers"), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil {
			return cfg, protocol.Errorf(protocol.CodeConfig, "--peers %s: %s is not a number", protocol.Quote(c.String("peers")), protocol.Quote(word))
		}
		cfg.Peers = append(cfg.Peers, n)
	}
	size, err := humanize.ParseBytes(c.String("size"))
	if err != nil || size > math.MaxInt64 {
		return cfg, protocol.Errorf(protocol.CodeConfig, "--size %s is not a size; write it like 16MiB", protocol.Quote(c.String("size")))
	}
	cfg.Size, cfg.Out = int64(size), c.String("out")
	if cfg.Uplink, err = parseRate("uplink", c.String("uplink")); err != nil {
		return cfg, err
	}
	cfg.Downlink = cfg.Uplink
	if c.IsSet("downlink") {
		cfg.Downlink, err = parseRate("downlink", c.String("downlink"))
	}
	return cfg, err
}

func compareRenderer(c *cli.Context, std streams) progress.Renderer {
	switch {
	case c.Bool("json"):
		return progress.NewJSON(std.err, time.Now)
	case isTerminal(std.err):
		return progress.NewBars(std.err)
	default:
		return progress.NewLines(std.err, time.Now)
	}
}

// compareShown shows one measurement after another.
type compareShown struct {
	progress.Renderer
	task  progress.Task
	began time.Time
}

// update is called by one goroutine at a time.
func (s *compareShown) update(p compare.Progress) {
	how := "from each other"
	if p.Central {
		how = "from one server"
	}
	task := progress.Task{Kind: progress.Downloading, Group: strconv.Itoa(p.Peers) + " clients", Name: how}
	if task != s.task {
		s.End(s.task)
		s.task, s.began = task, time.Now()
	}
	shown := progress.Snapshot{State: "downloading", Done: p.Done, Total: p.Total, Peers: p.Peers}
	if passed := time.Since(s.began).Seconds(); passed > 0 {
		shown.Rate = float64(p.Done) / passed
	}
	if shown.Rate > 0 {
		shown.ETA = time.Duration(float64(p.Total-p.Done) / shown.Rate * float64(time.Second))
	}
	s.Update(task, shown)
}
