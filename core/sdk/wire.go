package sdk

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/nspawn-build/nspawn-build/core/sdk/proto/nspawnbuild/bootstrap/v1"
)

// maxTail is how many lines of a tool's output a failure carries.
const maxTail = 100

// asFailure makes a failure of any error, so that it has a code.
func asFailure(ctx context.Context, err error) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		f := *failure
		f.Message = err.Error() // with what was wrapped around the failure
		return &f
	}
	code := CodeTool
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		code = CodeCanceled
	}
	return &Failure{Code: code, Message: err.Error()}
}

func failureToProto(f *Failure) *pb.Failed {
	tail := f.Tail
	if len(tail) > maxTail {
		tail = tail[len(tail)-maxTail:]
	}
	return &pb.Failed{
		Code:    pb.FailureCode(f.Code), //nolint:gosec // one of eight constants
		Message: Clean(f.Message, MaxText),
		Hint:    Clean(f.Hint, MaxText),
		Tail:    each(tail, func(s string) string { return Clean(s, MaxText) }),
	}
}

func failureFromProto(f *pb.Failed) *Failure {
	code := Code(f.GetCode())
	if code <= CodeUnspecified || code > CodeCanceled {
		code = CodeTool
	}
	tail := f.GetTail()
	if len(tail) > maxTail {
		tail = tail[len(tail)-maxTail:]
	}
	message := Clean(f.GetMessage(), MaxText)
	if message == "" {
		message = "the plugin failed and did not say why"
	}
	return &Failure{
		Code:    code,
		Message: message,
		Hint:    Clean(f.GetHint(), MaxText),
		Tail:    each(slices.Clone(tail), func(s string) string { return Clean(s, MaxText) }),
	}
}

// errorToStatus carries a failure of a unary call inside a gRPC status, where
// the protocol's responses have no room for one.
func errorToStatus(ctx context.Context, err error) error {
	failed := failureToProto(asFailure(ctx, err))
	s, detailErr := status.New(codes.Unknown, failed.GetMessage()).WithDetails(failed)
	if detailErr != nil {
		return status.Error(codes.Unknown, failed.GetMessage())
	}
	return s.Err()
}

// errorFromStatus undoes errorToStatus. An error that carries no failure comes
// back as it is.
func errorFromStatus(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, detail := range s.Details() {
		if failed, ok := detail.(*pb.Failed); ok {
			return failureFromProto(failed)
		}
	}
	return err
}

// callFailed is the error of a call that had no answer: the failure that came in
// its place, or which rule is broken by there being none.
func callFailed(ctx context.Context, id, call string, err error) error {
	var failure *Failure
	if err = errorFromStatus(err); errors.As(err, &failure) || !raised(ctx, err) {
		return err
	}
	return brokeBy(err, id, "a call that fails carries a Failed that says why", call+" ended with "+statusText(err))
}

// raised reports whether an error is a status that the other side, or the
// connection to it, made of a call, and not the caller's own giving up.
func raised(ctx context.Context, err error) bool {
	_, isStatus := status.FromError(err)
	return isStatus && ctx.Err() == nil
}

// statusText is a status in words: "Internal: division by zero".
func statusText(err error) string {
	s := status.Convert(err)
	return strings.TrimSuffix(s.Code().String()+": "+Clean(s.Message(), MaxText), ": ")
}

func brokeBy(err error, id, rule, detail string) error {
	return &ProtocolError{ID: id, Rule: rule, Detail: Clean(detail, 512), Err: err}
}

// makeValid replaces bytes that are not UTF-8 in every string of m, which
// protobuf would refuse to send: a tool's output may hold anything.
func makeValid(m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			if fd.MapKey().Kind() == protoreflect.StringKind && fd.MapValue().Kind() == protoreflect.StringKind {
				makeValidMap(v.Map())
			}
		case fd.IsList():
			list := v.List()
			for i := range list.Len() {
				switch fd.Kind() {
				case protoreflect.StringKind:
					list.Set(i, protoreflect.ValueOfString(valid(list.Get(i).String())))
				case protoreflect.MessageKind:
					makeValid(list.Get(i).Message())
				}
			}
		case fd.Kind() == protoreflect.StringKind:
			m.Set(fd, protoreflect.ValueOfString(valid(v.String())))
		case fd.Kind() == protoreflect.MessageKind:
			makeValid(v.Message())
		}
		return true
	})
}

func makeValidMap(m protoreflect.Map) {
	fixed := map[string]string{}
	var bad []protoreflect.MapKey
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		if !utf8.ValidString(k.String()) || !utf8.ValidString(v.String()) {
			bad = append(bad, k)
			fixed[valid(k.String())] = valid(v.String())
		}
		return true
	})
	for _, k := range bad {
		m.Clear(k)
	}
	for k, v := range fixed {
		m.Set(protoreflect.ValueOfString(k).MapKey(), protoreflect.ValueOfString(v))
	}
}

func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s)) // each bad byte becomes U+FFFD
}

// validated is makeValid for use in an expression.
func validated[M proto.Message](m M) M {
	makeValid(m.ProtoReflect())
	return m
}
