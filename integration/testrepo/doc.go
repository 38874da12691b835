// Package testrepo makes signed package repositories of an Arch-like, a
// Fedora-like and an openSUSE-like distribution out of Debian packages, so that
// tests need no network beyond the Debian mirror of the machine that they run on.
//
// What an installation from them proves: it is done by the real pacman and
// pacstrap, dnf and rpm, or zypper and rpm, which really verify signatures of packages and
// databases, resolve dependencies, unpack, run hooks or scriptlets in the tree
// and record what is installed; and the tree names itself as the distribution
// does, has its layout, its package, unit and user names where the tests look,
// and boots.
//
// What only a real mirror can prove: the distribution's own packages with the
// scriptlets in them, its real keys, metalinks and redirects, its sizes, and
// its versions of systemd and OpenSSH, which here are Debian's. Packages that
// nobody asks for by name keep Debian's names, and files Debian's places, such
// as the multiarch directories. With NSPAWN_BUILD_TEST_ARCH_MIRROR,
// NSPAWN_BUILD_TEST_FEDORA_MIRROR or NSPAWN_BUILD_TEST_OPENSUSE_MIRROR set, the
// tests are given that mirror instead.
//
// A repository is made once, below the cache directory of testhost, under a
// key of everything that it is made of. The package must never write anywhere
// else, leave a process behind, or change a repository that is there.
package testrepo
