package host

import (
	"encoding/binary"
	"net"

	"github.com/google/nftables/expr"
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
		return []byte{p.protocol()}
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
		header[0], header[9] = 0x45, p.protocol()
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
	case e.Key == expr.CtKeySTATUS:
		status := uint32(0)
		if p.led != 0 {
			status = statusLed
		}
		return binary.NativeEndian.AppendUint32(nil, status)
	case e.Key == expr.CtKeyPROTODST && e.Direction == 0 && p.led != 0: // as it was when it came
		return binary.BigEndian.AppendUint16(nil, p.led)
	}
	return nil
}
