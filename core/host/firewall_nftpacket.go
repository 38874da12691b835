package host

import (
	"encoding/binary"
	"net"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// metaOf is what the kernel knows of a packet beside its content; nil for what
// is not known here.
func metaOf(p packet, e *expr.Meta) []byte {
	if e.SourceRegister {
		return nil
	}
	switch e.Key {
	case expr.MetaKeyIIFNAME:
		return linkBytes(p.in)
	case expr.MetaKeyOIFNAME:
		return linkBytes(p.out)
	case expr.MetaKeyIIF:
		return indexOf(p.in)
	case expr.MetaKeyOIF:
		return indexOf(p.out)
	case expr.MetaKeyNFPROTO:
		return []byte{unix.NFPROTO_IPV4}
	case expr.MetaKeyL4PROTO:
		return []byte{unix.IPPROTO_TCP}
	case expr.MetaKeyPROTOCOL:
		return binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)
	}
	return nil
}

func linkBytes(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// indexOf is 0 for a link that is not there yet: no rule can mean it.
func indexOf(name string) []byte {
	index := 0
	if l, err := net.InterfaceByName(name); err == nil {
		index = l.Index
	}
	return binary.NativeEndian.AppendUint32(nil, uint32(index))
}

func payloadOf(p packet, e *expr.Payload) []byte {
	if e.OperationType != expr.PayloadLoad {
		return nil
	}
	var header []byte
	switch e.Base {
	case expr.PayloadBaseNetworkHeader:
		header = make([]byte, 20)
		header[0], header[9] = 0x45, unix.IPPROTO_TCP
		copy(header[12:], p.source.AsSlice())
		copy(header[16:], p.destination.AsSlice())
		if e.Offset < 9 && e.Offset+e.Len > 1 { // length, identity, hops: not known
			return nil
		}
	case expr.PayloadBaseTransportHeader:
		header = binary.BigEndian.AppendUint16(nil, p.sourcePort)
		header = binary.BigEndian.AppendUint16(header, p.destinationPort)
	case expr.PayloadBaseLLHeader:
		return nil
	}
	if int(e.Offset+e.Len) > len(header) {
		return nil
	}
	return header[e.Offset : e.Offset+e.Len]
}

func stateOf(p packet) uint32 {
	if p.established {
		return stateEstablished
	}
	return stateNew
}

func trackedOf(p packet, e *expr.Ct) []byte {
	switch {
	case e.SourceRegister:
		return nil
	case e.Key == expr.CtKeySTATE:
		return binary.NativeEndian.AppendUint32(nil, stateOf(p))
	case e.Key == expr.CtKeySTATUS: // it was not led elsewhere
		return binary.NativeEndian.AppendUint32(nil, 0)
	}
	return nil
}

// matchOf judges the old iptables' modules that nftables runs.
func matchOf(p packet, e *expr.Match) answer {
	if e.Name == "comment" {
		return yes
	}
	if e.Name != "conntrack" {
		return perhaps
	}
	var base xt.ConntrackMtinfoBase
	var states uint32
	switch info := e.Info.(type) {
	case *xt.ConntrackMtinfo3:
		base, states = info.ConntrackMtinfoBase, uint32(info.StateMask)
	case *xt.ConntrackMtinfo2:
		base, states = info.ConntrackMtinfoBase, uint32(info.StateMask)
	case *xt.ConntrackMtinfo1:
		base, states = info.ConntrackMtinfoBase, uint32(info.StateMask)
	default:
		return perhaps
	}
	const aboutState = uint16(xt.ConntrackState | xt.ConntrackStateAlias)
	if base.MatchFlags&^aboutState != 0 {
		return perhaps
	}
	a := no
	if states&stateOf(p) != 0 {
		a = yes
	}
	return inverted(a, base.InvertFlags&uint16(xt.ConntrackState) != 0)
}
