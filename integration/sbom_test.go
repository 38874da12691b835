//go:build integration

package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// validSBOM has somebody else's program, which brings the schema of SPDX, say
// whether the SBOM of an image is valid. It then looks for what the NTIA's "The
// Minimum Elements For a Software Bill of Materials" wants, of which the schema
// knows nothing. `make integration` builds the program.
func validSBOM(t *testing.T, h *testhost.Host, b built) {
	t.Helper()
	t.Run("validators accept its SBOM", func(t *testing.T) {
		testhost.Require(t, "sbom-utility")
		checkSBOM(t, h, b)
	})
}

func checkSBOM(t *testing.T, h *testhost.Host, b built) {
	t.Helper()
	text := h.ReadFile(t, b.SBOM)
	file := filepath.Join(t.TempDir(), "spdx.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sbom-utility", "validate", "--input-file", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SPDX-2.3") || !strings.Contains(string(out), "against JSON schema: `true`") {
		t.Errorf("%s is not valid: %v\n%s", b.SBOM, err, out)
	}
	var doc struct {
		CreationInfo struct {
			Creators []string
			Created  time.Time
		}
		Packages []struct {
			Name, SPDXID, VersionInfo, Supplier string

			ExternalRefs []struct{ ReferenceType, ReferenceLocator string }
		}
		Relationships []struct{ SPDXElementID, RelatedSPDXElement, RelationshipType string }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.CreationInfo.Creators) == 0 || doc.CreationInfo.Created.IsZero() {
		t.Errorf("it does not say by whom and when it was made: %+v", doc.CreationInfo)
	}
	if len(doc.Packages) != b.Packages+1 {
		t.Errorf("it has %d packages, the image has %d", len(doc.Packages), b.Packages)
	}
	const image = "SPDXRef-image"
	in := map[string]string{}
	for _, r := range doc.Relationships {
		in[r.RelatedSPDXElement] = r.SPDXElementID + " " + r.RelationshipType
	}
	seen := map[string]bool{}
	for _, p := range doc.Packages {
		want := image + " CONTAINS"
		if p.SPDXID == image {
			want = "SPDXRef-DOCUMENT DESCRIBES"
		} else if !strings.HasPrefix(p.Supplier, "Organization: ") || len(p.ExternalRefs) != 1 || p.ExternalRefs[0].ReferenceType != "purl" {
			t.Errorf("of %s it does not say whose it is and its URL: %+v", p.Name, p)
		}
		for _, id := range append([]string{p.SPDXID}, locators(p.ExternalRefs)...) {
			if seen[id] {
				t.Errorf("%s is two things", id)
			}
			seen[id] = true
		}
		if in[p.SPDXID] != want || p.Name == "" || p.VersionInfo == "" {
			t.Errorf("%+v is %q", p, in[p.SPDXID])
		}
	}
}

func locators(refs []struct{ ReferenceType, ReferenceLocator string }) (all []string) {
	for _, r := range refs {
		all = append(all, r.ReferenceLocator)
	}
	return all
}
