package world

import (
	"context"
	"encoding/json"
	"fmt"
)

// Client is a client process that answers in JSON.
type Client struct {
	*Proc
	Name      string
	Downloads string // where its downloads go
}

// Reply is the answer to one command.
type Reply struct {
	Command string          `json:"command"`
	OK      bool            `json:"ok"`
	Result  json.RawMessage `json:"result"`
	Error   struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// Error is a command that failed: its reply.
type Error struct {
	Client string
	Reply  Reply
}

// Error says who failed at what.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %s (%s)", e.Client, e.Reply.Command, e.Reply.Error.Message, e.Reply.Error.Code)
}

// Do runs one command and decodes its result into result, unless that is nil.
// A command that fails is an *Error.
func (c *Client) Do(ctx context.Context, command string, result any) error {
	if err := c.Write(command); err != nil {
		return fmt.Errorf("%s: %w: %s", c.Name, err, c.Stderr())
	}
	return c.Answer(ctx, result)
}

// Answer waits for the answer to a command that was written before.
func (c *Client) Answer(ctx context.Context, result any) error {
	line, err := c.Line(ctx)
	if err != nil {
		return fmt.Errorf("%w: %s", err, c.Stderr())
	}
	var reply Reply
	if err := json.Unmarshal([]byte(line), &reply); err != nil {
		return fmt.Errorf("%s: not an answer: %q: %w", c.Name, line, err)
	}
	if !reply.OK {
		return &Error{Client: c.Name, Reply: reply}
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(reply.Result, result); err != nil {
		return fmt.Errorf("%s: %s: %w", c.Name, reply.Command, err)
	}
	return nil
}

// All runs commands one after another until one fails.
func (c *Client) All(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		if err := c.Do(ctx, command, nil); err != nil {
			return err
		}
	}
	return nil
}

// Downloaded is what download_file answers.
type Downloaded struct {
	Group   string  `json:"group"`
	Name    string  `json:"name"`
	Path    string  `json:"path"`
	Size    int64   `json:"size"`
	SHA1    string  `json:"sha1"`
	ID      string  `json:"id"`
	Seconds float64 `json:"seconds"`
	Wasted  int64   `json:"wasted"`
	Peers   []struct {
		Peer   string `json:"peer"`
		User   string `json:"user"`
		Pieces int    `json:"pieces"`
	} `json:"peers"`
}
