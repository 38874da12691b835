package conformance

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// tap sees all that a plugin says as it says it, before the host's client makes
// it clean, and can put more into what the host says.
type tap struct {
	grpc.ClientConnInterface

	// grease puts fields into every message that no plugin can know.
	grease bool
	// heard is called with every message from the plugin.
	heard func(proto.Message)

	mu    sync.Mutex
	calls map[string]int // by method
}

func (t *tap) called(method string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls == nil {
		t.calls = map[string]int{}
	}
	t.calls[method]++
}

// hasCalled reports whether a method was called, whatever came of it.
func (t *tap) hasCalled(method string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls[method] > 0
}

// Invoke implements grpc.ClientConnInterface.
func (t *tap) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	t.called(method)
	err := t.ClientConnInterface.Invoke(ctx, method, t.greased(args), reply, opts...)
	if err == nil {
		t.tell(reply)
	}
	return err
}

// NewStream implements grpc.ClientConnInterface.
func (t *tap) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	t.called(method)
	stream, err := t.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &tappedStream{stream, t}, nil
}

type tappedStream struct {
	grpc.ClientStream

	tap *tap
}

func (s *tappedStream) SendMsg(m any) error { return s.ClientStream.SendMsg(s.tap.greased(m)) }

func (s *tappedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		s.tap.tell(m)
	}
	return err
}

func (t *tap) tell(m any) {
	if message, ok := m.(proto.Message); ok && t.heard != nil {
		t.heard(message)
	}
}

// greased is a copy of a message with more in it than this version knows.
func (t *tap) greased(m any) any {
	message, ok := m.(proto.Message)
	if !ok || !t.grease {
		return m
	}
	with := proto.Clone(message)
	grease(with.ProtoReflect())
	return with
}

// The fields that no version of the protocol has: a number, a text and a message.
const (
	greaseNumber  = 20_001
	greaseText    = 20_002
	greaseMessage = 20_003
)

func grease(m protoreflect.Message) {
	unknown := m.GetUnknown()
	unknown = protowire.AppendVarint(protowire.AppendTag(unknown, greaseNumber, protowire.VarintType), 7)
	unknown = protowire.AppendString(protowire.AppendTag(unknown, greaseText, protowire.BytesType), "of a later version")
	inner := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
	unknown = protowire.AppendBytes(protowire.AppendTag(unknown, greaseMessage, protowire.BytesType), inner)
	m.SetUnknown(unknown)
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if fd.Kind() == protoreflect.MessageKind && !fd.IsList() && !fd.IsMap() {
			grease(m.Mutable(fd).Message())
		}
		return true
	})
}

// repeated says of a message that its texts are not the plugin's own: the
// commands of a plan, which are what it runs, and the request that was resolved.
func repeated(m protoreflect.MessageDescriptor) bool {
	switch m.FullName() {
	case (&pb.Command{}).ProtoReflect().Descriptor().FullName(), (&pb.Request{}).ProtoReflect().Descriptor().FullName():
		return true
	}
	return false
}

// texts calls do with every text of the plugin's own in a message, by the name of
// its field.
func texts(m protoreflect.Message, do func(field, text string)) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := string(m.Descriptor().Name()) + "." + string(fd.Name())
		switch {
		case fd.Message() != nil && repeated(fd.Message()):
		case fd.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, value protoreflect.Value) bool {
				if fd.MapValue().Kind() == protoreflect.StringKind {
					do(name, k.String())
					do(name, value.String())
				}
				return true
			})
		case fd.IsList():
			list := v.List()
			for i := range list.Len() {
				switch fd.Kind() {
				case protoreflect.StringKind:
					do(name, list.Get(i).String())
				case protoreflect.MessageKind:
					texts(list.Get(i).Message(), do)
				}
			}
		case fd.Kind() == protoreflect.StringKind:
			do(name, v.String())
		case fd.Kind() == protoreflect.MessageKind:
			texts(v.Message(), do)
		}
		return true
	})
}
