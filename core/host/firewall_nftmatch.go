package host

import (
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// matchOf judges the old iptables' modules that nftables runs.
func matchOf(p packet, e *expr.Match) answer {
	switch info := e.Info.(type) {
	case *xt.Tcp:
		if info.Option != 0 || info.FlagsMask != 0 {
			return min(truth(!p.udp), perhaps)
		}
		return min(truth(!p.udp), portsMatch(p, info.SrcPorts, info.DstPorts, info.InvFlags&xt.TcpInvSrcPorts != 0, info.InvFlags&xt.TcpInvDestPorts != 0))
	case *xt.Udp:
		return min(truth(p.udp), portsMatch(p, info.SrcPorts, info.DstPorts, info.InvFlags&xt.UdpInvSrcPorts != 0, info.InvFlags&xt.UdpInvDestPorts != 0))
	case *xt.AddrTypeV1:
		return addressMatch(p, info)
	}
	switch e.Name {
	case "comment":
		return yes
	case "conntrack":
		return trackedMatch(p, e)
	}
	return perhaps
}

func portsMatch(p packet, source, destination [2]uint16, notSource, notDestination bool) answer {
	return min(
		inverted(truth(source[0] <= p.sourcePort && p.sourcePort <= source[1]), notSource),
		inverted(truth(destination[0] <= p.destinationPort && p.destinationPort <= destination[1]), notDestination),
	)
}

// addressMatch judges by what kind of address a packet goes to. Its source is
// one that is not known here.
func addressMatch(p packet, e *xt.AddrTypeV1) answer {
	const invertDestination = xt.AddrTypeFlags(2) // XT_ADDRTYPE_INVERT_DEST
	if e.Source != 0 || e.Flags&^invertDestination != 0 {
		return perhaps
	}
	kind := xt.AddrTypeUnicast
	if p.local() {
		kind = xt.AddrTypeLocal
	}
	return inverted(truth(uint16(kind)&e.Dest != 0), e.Flags&invertDestination != 0)
}

func trackedMatch(p packet, e *expr.Match) answer {
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
	have := stateOf(p)
	if p.led != 0 {
		have |= stateLed
	}
	return inverted(truth(states&have != 0), base.InvertFlags&uint16(xt.ConntrackState) != 0)
}
