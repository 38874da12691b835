package target_test

import (
	"errors"
	"fmt"
	"os"

	"github.com/nspawn-build/nspawn-build/core/sdk/target"
)

// A link in the tree, which a package may have brought, leads nowhere else.
func ExampleTree_Write() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an example
	if err := errors.Join(os.Mkdir(dir+"/etc", 0o755), os.Symlink("/etc/hostname", dir+"/etc/hostname")); err != nil {
		fmt.Println(err)
		return
	}
	tree, err := target.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tree.Close() //nolint:errcheck // an example
	fmt.Println(tree.Write("etc/hostname", []byte("my-linux\n")))
	text, err := os.ReadFile(dir + "/etc/hostname")
	fmt.Printf("%q %v\n", text, err)
	// Output:
	// <nil>
	// "my-linux\n" <nil>
}
