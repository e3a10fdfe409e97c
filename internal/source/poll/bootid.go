package poll

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/shirou/gopsutil/v4/host"

	"github.com/sentineld/sentineld/internal/event"
)

// HostBootID tells this boot of this host from all others: what the kernel
// calls it (Linux, macOS), else a hash of when the host booted and which it is.
func HostBootID(ctx context.Context) (event.BootID, error) {
	id, err := kernelBootID()
	if errors.Is(err, errors.ErrUnsupported) {
		return hashedBootID(ctx)
	}
	return id, err
}

func hashedBootID(ctx context.Context) (event.BootID, error) {
	boot, err := host.BootTimeWithContext(ctx)
	if err != nil {
		return event.BootID{}, fmt.Errorf("read boot time: %w", err)
	}
	name, err := host.HostIDWithContext(ctx)
	if err != nil || name == "" {
		if name, err = os.Hostname(); err != nil {
			return event.BootID{}, fmt.Errorf("read host name: %w", err)
		}
	}
	return bootIDOf(time.Unix(int64(boot), 0), name), nil
}

// bootIDOf cuts the boot time to bootGrain, since systems whose kernel has no
// boot id compute it from the wall clock, and it moves when that is corrected.
// Two boots within one grain are still told apart: the starts in their process
// keys are on the wall clock.
func bootIDOf(boot time.Time, name string) event.BootID {
	grains := strconv.FormatInt(boot.Unix()/int64(bootGrain/time.Second), 10)
	h := sha256.Sum256([]byte("sentineld boot\x00" + grains + "\x00" + name))
	id := event.BootID(h[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8, RFC 9562
	return id
}

const bootGrain = 10 * time.Minute
