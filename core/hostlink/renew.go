package hostlink

import (
	"context"
	"fmt"
	"reflect"

	"github.com/vishvananda/netlink"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Renew makes the link what it is to be from the machine's next boot on. It is
// for the moment between two boots, when there is no link.
func (k *Keeper) Renew(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.renew(ctx)
}

func (k *Keeper) renew(ctx context.Context) error {
	if k.config.Next == nil {
		return nil
	}
	next, err := k.config.Next()
	if err != nil || reflect.DeepEqual(next, k.link) {
		return err
	}
	if next.Egress != spec.EgressAny && !next.Address.IsValid() {
		return fmt.Errorf("the address of %s is not known: what it reaches cannot be bounded", next.Machine)
	}
	before := k.link
	k.closePorts()
	k.link, k.ports = next, nil
	if next.Needed() {
		err = k.install()
	} else if err = Remove(ctx, k.config, next.Machine); err == nil {
		k.closed, k.rules = nil, nil
	}
	if err != nil {
		k.link = before // which still bounds it
		return err
	}
	k.ports, err = openPorts(ctx, next)
	return err
}

// rebooted tells whether the link is another one than it was: the machine has
// ended, or boots.
func (k *Keeper) rebooted() bool {
	index := 0
	if link, err := netlink.LinkByName(k.link.Interface); err == nil {
		index = link.Attrs().Index
	}
	before := k.index
	k.index = index
	return index != before
}
