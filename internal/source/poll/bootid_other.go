//go:build !linux && !darwin

package poll

import (
	"errors"

	"github.com/sentineld/sentineld/internal/event"
)

func kernelBootID() (event.BootID, error) { return event.BootID{}, errors.ErrUnsupported }
