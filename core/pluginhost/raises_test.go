package pluginhost

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/sdktest"
)

// TestAnAnswerThatIsOnlyAStatusIsAFaultOfThePlugin is about plugins that live, and
// raise what nobody catches.
func TestAnAnswerThatIsOnlyAStatusIsAFaultOfThePlugin(t *testing.T) {
	h := newHost(t)
	for mode, c := range map[string]struct {
		rule string
		call func(*Session, Grants) error
	}{
		"raises-validate": {sdk.RuleAnswers, func(s *Session, _ Grants) error {
			_, err := s.Validate(t.Context(), sdk.Request{})
			return err
		}},
		"raises-bootstrap": {sdk.RuleOneEnd, func(s *Session, g Grants) error {
			_, err := s.Bootstrap(t.Context(), g.request(), &sdktest.Recorder{})
			return err
		}},
	} {
		t.Run(mode, func(t *testing.T) {
			grants := jobGrants(t)
			err := c.call(startGood(t, h, mode, grants), grants)
			var protocol *sdk.ProtocolError
			if !errors.As(err, &protocol) || protocol.ID != c.rule || status.Code(err) != codes.Unknown || errors.Is(err, ErrPluginDied) {
				t.Errorf("got %v", err)
			}
		})
	}
}
