//go:build !race

package main_test

import "testing"

func apart(*testing.T) {}
