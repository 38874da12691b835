package direct

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// tableOf names the table that holds a machine's rule and nothing else. Its
// name is how it is found again.
func tableOf(name string) *nftables.Table {
	return &nftables.Table{Name: "nspawn-build-" + name, Family: nftables.TableFamilyIPv4}
}

// masquerade lets the machine's subnet reach what this host reaches: what it
// sends out of any link but its own leaves with this host's address.
func masquerade(name, link string, subnet netip.Prefix) error {
	if err := unmasquerade(name); err != nil {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("masquerading by nftables: %w", err)
	}
	table := c.AddTable(tableOf(name))
	chain := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	c.AddRule(&nftables.Rule{
		Table: table, Chain: chain, Exprs: masqueradeRule(link, subnet),
		UserData: userdata.AppendString(nil, userdata.TypeComment, comment(name)),
	})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("masquerading by nftables: %w", err)
	}
	return nil
}

func comment(name string) string { return "made by nspawn-build for " + name }

// masqueradeRule is
//
//	ip saddr SUBNET oifname != "LINK" masquerade
func masqueradeRule(link string, subnet netip.Prefix) []expr.Any {
	subnet = subnet.Masked()
	mask := net.CIDRMask(subnet.Bits(), 32)
	const sourceOffset, addressLength = 12, 4 // in the IPv4 header
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, link)
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: sourceOffset, Len: addressLength},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: addressLength, Mask: mask, Xor: binaryutil.NativeEndian.PutUint32(0)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: subnet.Addr().AsSlice()},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name},
		&expr.Masq{},
	}
}

// unmasquerade removes the machine's table. One that is not there, or a kernel
// that knows no tables, is no error.
func unmasquerade(name string) error {
	c, err := nftables.New()
	if err != nil {
		return nil //nolint:nilerr // no nftables, no table
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil //nolint:nilerr // no nftables, no table
	}
	for _, t := range tables {
		if t.Name != tableOf(name).Name {
			continue
		}
		c.DelTable(t)
		if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("removing the nftables table %s: %w", t.Name, err)
		}
	}
	return nil
}
