package hostlink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/driver/veth"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

// lookAgain is how often the link is looked at although nothing was announced:
// an announcement can be lost.
const lookAgain = 5 * time.Second

// settle is how long announcements are collected: one change of the network
// makes several.
const settle = 20 * time.Millisecond

// Keep holds the link as it should be until ctx ends: the host's end gets its
// address whenever a new one comes up, a network that this host joins is closed
// to the machine at once, and rules that somebody flushed are put back. It holds
// another link from the moment on at which Change asks for that.
func (k *Keeper) Keep(ctx context.Context) {
	wishes, deaf, err := k.listenForWishes(ctx)
	if err == nil {
		defer deaf()
	} else {
		k.config.Warn(fmt.Sprintf("changes of the link of %s wait for its next boot: %v", k.link.Machine, err))
	}
	changed, stop := k.announcements()
	defer stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	said := ""
	for {
		if err := k.mend(ctx); err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			k.config.Warn(said)
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case w := <-wishes:
			w.answer <- k.adopt(ctx, w.link)
		case <-changed:
			select {
			case <-time.After(settle):
			case <-ctx.Done():
				return
			}
			select {
			case <-changed: // collected meanwhile
			default:
			}
		}
	}
}

// mend looks at everything and puts right what is not.
func (k *Keeper) mend(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	k.stale = k.rebooted() || k.stale
	if k.stale {
		err := k.renew(ctx)
		var taken *TakenError
		k.stale = err != nil && !errors.As(err, &taken) // else the rest is as it should be
		errs = append(errs, err)
	}
	if k.link.Builtin && k.link.HostSide.IsValid() {
		err := veth.Configure(k.link.Interface, k.link.HostSide)
		if missing := (netlink.LinkNotFoundError{}); err != nil && !errors.As(err, &missing) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, err)
		}
	}
	if len(k.rules) == 0 {
		return errors.Join(errs...)
	}
	whole, err := k.intact()
	switch {
	case err != nil:
		return errors.Join(append(errs, err)...)
	case !whole:
		if err := k.install(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		k.config.Warn(fmt.Sprintf("somebody removed rules of %s from nftables: they are put back", k.link.Machine))
	case k.link.Egress == spec.EgressInternet:
		closed, err := closedRanges()
		if err == nil && !slices.Equal(closed, k.closed) {
			err = k.close(closed)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// announcements is told whenever links, addresses, routes or rules of this
// host change; what about them is looked up. What cannot be listened to is
// looked at every lookAgain.
func (k *Keeper) announcements() (changed chan struct{}, stop func()) {
	changed = make(chan struct{}, 1)
	var sockets []*nl.NetlinkSocket
	for _, s := range []struct {
		protocol int
		groups   []uint
	}{
		{unix.NETLINK_ROUTE, []uint{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE}},
		{unix.NETLINK_NETFILTER, []uint{unix.NFNLGRP_NFTABLES}},
	} {
		socket, err := nl.Subscribe(s.protocol, s.groups...)
		if err != nil {
			k.config.Warn(fmt.Sprintf("changes of the network are noticed late: %v", err))
			continue
		}
		sockets = append(sockets, socket)
		go listen(socket, changed)
	}
	return changed, func() {
		for _, s := range sockets {
			s.Close()
		}
	}
}

// listen says that something changed, until the socket is closed.
func listen(socket *nl.NetlinkSocket, changed chan<- struct{}) {
	for {
		_, _, err := socket.Receive()
		if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EBADF) {
			return
		}
		select {
		case changed <- struct{}{}:
		default: // said already
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // which only says that there was much
			time.Sleep(time.Second)
		}
	}
}
