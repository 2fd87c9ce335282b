//go:build !linux

package netns

import "errors"

func (h *Host) on(func() error) error { return errors.ErrUnsupported }
