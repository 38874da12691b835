package images

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

const (
	noAssertion = "NOASSERTION"
	imageID     = "image"
	// The key by which labels of images say who hands them on, from the image
	// specification of the Open Container Initiative.
	vendorLabel = "org.opencontainers.image.vendor"
	// As the JSON schema of SPDX spells it; the specification has a hyphen.
	purposeSystem = "OPERATING_SYSTEM"
)

// SBOM is the SPDX 2.3 document of an image, as JSON. The same manifest gives
// the same document.
func SBOM(m Manifest) ([]byte, error) {
	created := m.Created
	if m.SourceDateEpoch != 0 {
		created = time.Unix(m.SourceDateEpoch, 0).UTC().Format(time.RFC3339)
	}
	vendor := m.Spec.Labels[vendorLabel]
	creators := []common.Creator{{CreatorType: "Tool", Creator: m.Tool.Name + "-" + m.Tool.Version}}
	if vendor != "" {
		creators = append(creators, common.Creator{CreatorType: organization, Creator: vendor})
	}
	doc := &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: m.Name,
		// A name, not an address that anybody asks.
		DocumentNamespace: "https://nspawn-build.invalid/spdx/" + m.Name + "/" + m.Digest,
		CreationInfo:      &v2_3.CreationInfo{Created: created, Creators: creators},
		Packages: []*v2_3.Package{{
			PackageName: m.Name, PackageSPDXIdentifier: imageID, PackageVersion: m.Digest, PackageSupplier: supplier(vendor),
			PackageDownloadLocation: noAssertion, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion,
			PackageCopyrightText: noAssertion, PrimaryPackagePurpose: purposeSystem,
			PackageChecksums: []common.Checksum{{Algorithm: common.SHA256, Value: m.Digest}},
		}},
		Relationships: []*v2_3.Relationship{relation("DOCUMENT", "DESCRIBES", imageID)},
	}
	seen := map[common.ElementID]int{}
	for _, p := range m.Packages {
		one := spdxPackage(p, m)
		if n := seen[one.PackageSPDXIdentifier]; n > 0 { // two names that differ in a character that ids lack
			one.PackageSPDXIdentifier += common.ElementID(fmt.Sprintf("-%d", n+1))
		}
		seen[spdxID(p)]++
		doc.Packages = append(doc.Packages, one)
		doc.Relationships = append(doc.Relationships, relation(imageID, "CONTAINS", one.PackageSPDXIdentifier))
	}
	var out bytes.Buffer
	err := spdxjson.Write(doc, &out, spdxjson.Indent("  "), spdxjson.EscapeHTML(false))
	return out.Bytes(), err
}

const organization = "Organization"

// supplier says who hands something on, so far as that is known.
func supplier(name string) *common.Supplier {
	if name == "" {
		return &common.Supplier{Supplier: noAssertion}
	}
	return &common.Supplier{SupplierType: organization, Supplier: name}
}

func relation(from common.ElementID, what string, to common.ElementID) *v2_3.Relationship {
	return &v2_3.Relationship{
		RefA: common.DocElementID{ElementRefID: from}, RefB: common.DocElementID{ElementRefID: to}, Relationship: what,
	}
}

// spdxID is an identifier of letters, digits, "." and "-".
func spdxID(p Package) common.ElementID {
	text := "package-" + p.Name + "-" + p.Architecture + "-" + p.Version
	return common.ElementID(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, text))
}

func spdxPackage(p Package, m Manifest) *v2_3.Package {
	one := &v2_3.Package{
		PackageName: p.Name, PackageSPDXIdentifier: spdxID(p), PackageVersion: p.Version,
		// As in its URL: whose package manager installed it.
		PackageSupplier:         supplier(m.Facts.OSRelease["NAME"]),
		PackageDownloadLocation: noAssertion, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion,
		PackageCopyrightText: noAssertion,
	}
	if p.Source != "" {
		one.PackageSourceInfo = strings.TrimSpace("built of source package " + p.Source + " " + p.SourceVersion)
	}
	if p.License != "" {
		one.PackageLicenseComments = "The package says: " + p.License
	}
	if p.SHA256 != "" {
		one.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: p.SHA256}}
	}
	if purl := PURL(p, m.Facts); purl != "" {
		one.PackageExternalReferences = []*v2_3.PackageExternalReference{{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: purl}}
	}
	return one
}

// purlTypes are the kinds of packages by what manages them.
var purlTypes = map[string]string{
	"apt-get": packageurl.TypeDebian, "apt": packageurl.TypeDebian, "dpkg": packageurl.TypeDebian,
	"dnf": packageurl.TypeRPM, "dnf5": packageurl.TypeRPM, "yum": packageurl.TypeRPM, "zypper": packageurl.TypeRPM, "rpm": packageurl.TypeRPM,
	"pacman": packageurl.TypeAlpm,
}

// PURL is the package URL of a package of a tree; empty where its kind is not
// known.
func PURL(p Package, f Facts) string {
	kind := purlTypes[f.PackageManager]
	if kind == "" {
		return ""
	}
	namespace := f.OSRelease["ID"]
	qualifiers := map[string]string{}
	version := p.Version
	if p.Architecture != "" {
		qualifiers["arch"] = p.Architecture
	}
	if epoch, rest, ok := strings.Cut(version, ":"); ok && kind == packageurl.TypeRPM {
		qualifiers["epoch"], version = epoch, rest
	}
	if namespace != "" {
		if of := firstOf(f.OSRelease["VERSION_ID"], f.OSRelease["VERSION_CODENAME"]); of != "" {
			qualifiers["distro"] = namespace + "-" + of
		}
	}
	return packageurl.NewPackageURL(kind, namespace, p.Name, version, packageurl.QualifiersFromMap(qualifiers), "").ToString()
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
