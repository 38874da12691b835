package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/sdk/indexes"
)

const aMetalink = `<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files><file name="repomd.xml">
  <mm0:timestamp>1764000000</mm0:timestamp><size>4000</size>
  <verification><hash type="md5">00</hash><hash type="sha256">SUM</hash></verification>
  <mm0:alternates><mm0:alternate><size>1</size><verification><hash type="sha256">OLD</hash></verification></mm0:alternate></mm0:alternates>
  <resources maxconnections="1"><url protocol="https">https://mirror.example.org/repodata/repomd.xml</url></resources>
 </file></files>
</metalink>`

func TestARepositoryIsKnownByItsRepomd(t *testing.T) {
	now := strings.Repeat("ab", 32)
	text := strings.NewReplacer("SUM", strings.ToUpper(now), "OLD", strings.Repeat("cd", 32)).Replace(aMetalink)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metalink":
			_, _ = w.Write([]byte(text))
		case "/mirrorlist":
			_, _ = w.Write([]byte("# of mirrors\nhttp://" + r.Host + "/gone/\nhttp://" + r.Host + "/here/\n"))
		case "/here/repodata/repomd.xml":
			_, _ = w.Write([]byte("index"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	c := indexes.NewClient(nil)
	defer c.Close()
	const index = "sha256:1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6" // of "index"
	for what, check := range map[string]struct {
		r    repository
		want string
	}{
		"metalink":   {repository{metalink: server.URL + "/metalink"}, "sha256:" + now},
		"mirrorlist": {repository{mirrorlist: server.URL + "/mirrorlist"}, index},
		"base":       {repository{baseurl: server.URL + "/here/"}, index},
	} {
		if got, err := check.r.digest(context.Background(), c); err != nil || got != check.want {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
	for what, r := range map[string]repository{
		"no mirror": {mirrorlist: server.URL + "/here/repodata/repomd.xml"}, "no metalink": {metalink: server.URL + "/mirrorlist"},
		"nothing": {baseurl: server.URL + "/gone"},
	} {
		if got, err := r.digest(context.Background(), c); err == nil {
			t.Errorf("%s: got %q", what, got)
		}
	}
	if _, err := metalinkDigest([]byte(strings.Replace(text, strings.ToUpper(now), "x", 1))); err == nil {
		t.Error("the digest of an older index was taken")
	}
}
