// Tracker runs a tracker inside another program: here one that also answers
// HTTP with the tracker's figures:
//
//	go run ./examples/tracker TRACKER_INFO NUMBER HTTP_ADDR
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: tracker TRACKER_INFO NUMBER HTTP_ADDR")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, info, number, addr string) error {
	entries, err := roster.Read(info)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	t, err := tracker.New(tracker.Config{
		Trackers: entries,
		Number:   n,
		Dir:      filepath.Join(filepath.Dir(info), "tracker-"+number), // as "p2pshare tracker init" made it
		Log:      func(a tracker.Activity) { log.Println(a.What, a.User, a.Group, a.Object, a.Result) },
	})
	if err != nil {
		return err
	}
	defer t.Close()

	server := &http.Server{
		Addr:              addr,
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(t.Status())
		}),
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
