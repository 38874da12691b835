package blobs_test

import (
	"fmt"
	"os"

	"github.com/nspawn-build/nspawn-build/core/sdk/blobs"
)

// A job takes what an earlier one has downloaded, if it is what it is called.
func ExampleStore() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an example
	store, err := blobs.Open(dir + "/cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	const digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of "hello"
	if err := os.WriteFile(dir+"/download", []byte("hello"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := store.Put(dir+"/download", digest); err != nil {
		fmt.Println(err)
		return
	}
	there, err := store.Take(digest, dir+"/again")
	fmt.Println(there, err)
	// Output: true <nil>
}
