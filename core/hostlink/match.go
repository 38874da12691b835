package hostlink

import (
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rule is what a packet is asked, in order, and what becomes of one that
// answers yes to all of it.
type rule []expr.Any

func when(parts ...rule) rule { return slices.Concat(parts...) }

const register = 1

func compare(op expr.CmpOp, data []byte) expr.Any {
	return &expr.Cmp{Op: op, Register: register, Data: data}
}

// from and notFrom match the link that a packet came in by; notTo the one it
// leaves by. Names are compared, so that the rules are there before the link.
func from(link string) rule    { return byName(expr.MetaKeyIIFNAME, expr.CmpOpEq, link) }
func notFrom(link string) rule { return byName(expr.MetaKeyIIFNAME, expr.CmpOpNeq, link) }
func notTo(link string) rule   { return byName(expr.MetaKeyOIFNAME, expr.CmpOpNeq, link) }

func byName(key expr.MetaKey, op expr.CmpOp, link string) rule {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, link)
	return rule{&expr.Meta{Key: key, Register: register}, compare(op, name)}
}

// ipv4 must come before whatever looks into the header.
func ipv4() rule { return family(expr.CmpOpEq) }

func notIPv4() rule { return family(expr.CmpOpNeq) }

func family(op expr.CmpOp) rule {
	return rule{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register}, compare(op, []byte{unix.NFPROTO_IPV4})}
}

// Where the addresses are in the header of IPv4.
const (
	sourceOffset      = 12
	destinationOffset = 16
	addressLength     = 4
)

func source(op expr.CmpOp, p netip.Prefix) rule      { return address(sourceOffset, op, p) }
func destination(op expr.CmpOp, p netip.Prefix) rule { return address(destinationOffset, op, p) }

func address(offset uint32, op expr.CmpOp, p netip.Prefix) rule {
	p = p.Masked()
	r := rule{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: addressLength}}
	if p.Bits() < 32 {
		r = append(r, &expr.Bitwise{
			SourceRegister: register, DestRegister: register, Len: addressLength,
			Mask: net.CIDRMask(p.Bits(), 32), Xor: make([]byte, addressLength),
		})
	}
	return append(r, compare(op, p.Addr().AsSlice()))
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func destinationIn(set *nftables.Set) rule {
	return rule{
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: destinationOffset, Len: addressLength},
		&expr.Lookup{SourceRegister: register, SetName: set.Name, SetID: set.ID},
	}
}

// port matches what is sent to a port, by TCP or UDP.
func port(protocol byte, number uint16) rule {
	return rule{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}, compare(expr.CmpOpEq, []byte{protocol}),
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		compare(expr.CmpOpEq, binaryutil.BigEndian.PutUint16(number)),
	}
}

// toThisHost and notToOneHost ask what kind of address a packet is sent to: any
// of this host's own; or a broadcast or multicast address, or this host's own.
func toThisHost() rule   { return addressType(expr.CmpOpEq, unix.RTN_LOCAL) }
func notToOneHost() rule { return addressType(expr.CmpOpNeq, unix.RTN_UNICAST) }

func addressType(op expr.CmpOp, kind uint32) rule {
	return rule{
		&expr.Fib{Register: register, FlagDADDR: true, ResultADDRTYPE: true},
		compare(op, binaryutil.NativeEndian.PutUint32(kind)),
	}
}

// answers match what belongs to a connection that was made to the sender.
func answers() rule {
	const reply = 1
	return when(
		rule{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: register}, compare(expr.CmpOpEq, []byte{reply})},
		state(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED),
	)
}

func state(bits uint32) rule {
	return rule{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register},
		&expr.Bitwise{
			SourceRegister: register, DestRegister: register, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4),
		},
		compare(expr.CmpOpNeq, make([]byte, 4)),
	}
}

func verdict(kind expr.VerdictKind) rule { return rule{&expr.Verdict{Kind: kind}} }

func drop() rule { return verdict(expr.VerdictDrop) }

func accept() rule { return verdict(expr.VerdictAccept) }

func jump(chain string) rule {
	return rule{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

func masquerade() rule { return rule{&expr.Masq{}} }

// sendTo changes where a packet goes.
func sendTo(a netip.Addr, number uint16) rule {
	const second = 2
	return rule{
		&expr.Immediate{Register: register, Data: a.AsSlice()},
		&expr.Immediate{Register: second, Data: binaryutil.BigEndian.PutUint16(number)},
		&expr.NAT{
			Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4,
			RegAddrMin: register, RegAddrMax: register, RegProtoMin: second, RegProtoMax: second, Specified: true,
		},
	}
}
