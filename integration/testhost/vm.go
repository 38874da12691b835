package testhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// VM is a host with a kernel of its own, in plain software emulation: no KVM
// is needed, and what takes a second elsewhere takes ten. It has what the other
// hosts lack: cgroup v2 with every controller, so that limits are enforced. It
// has no network.
type VM struct {
	Script  string        // run by bash, as root, once the host is up
	Timeout time.Duration // for all of it
	// Reboots lets the host reboot; the script is run at each boot. Else that
	// would be the end.
	Reboots bool
	// Files are copied to where the host has them from where this machine does.
	Files map[string]string
}

// payloadUnit runs the script with its output on the second serial port.
const payloadUnit = `[Unit]
After=multi-user.target dbus.service systemd-networkd.service systemd-resolved.service
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
Environment=HOME=/root
ExecStart=/bin/bash -c 'bash /root/payload.sh 2>&1 | cat; echo "payload-exit: $${PIPESTATUS[0]}"'
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=graphical.target
`

// RunVM boots a trixie host with nspawn-build and the fixture installed, runs
// the script and returns what it printed and how it ended.
func RunVM(t testing.TB, vm VM) Result {
	t.Helper()
	Require(t, "qemu-system-x86_64", "mke2fs", "make", "go", "mmdebstrap", "zstd")
	kernel, initrd, modules := vmKernel(t)
	ctx, cancel := context.WithTimeout(t.Context(), vm.Timeout)
	defer cancel()
	dir, release, err := ownDirectory()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := removeTree(dir); err != nil {
			t.Error(err)
		}
		release()
	}()
	image := filepath.Join(dir, "root.img")
	if err := vmImage(ctx, filepath.Join(dir, "tree"), image, modules, vm); err != nil {
		t.Fatalf("make the disk of a virtual machine: %v", err)
	}
	var more []string
	if !vm.Reboots {
		more = append(more, "-no-reboot")
	}
	return boot(ctx, t, dir, image, kernel, initrd, more...)
}

// vmKernel finds the newest of Debian's kernels for virtual machines.
func vmKernel(t testing.TB) (kernel, initrd, modules string) {
	t.Helper()
	kernels, err := filepath.Glob("/boot/vmlinuz-*cloud*")
	if err != nil || len(kernels) == 0 {
		Unmet(t, "there is no kernel for virtual machines: install linux-image-cloud-amd64 and initramfs-tools")
	}
	slices.Sort(kernels)
	kernel = kernels[len(kernels)-1]
	release := strings.TrimPrefix(kernel, "/boot/vmlinuz-")
	initrd = "/boot/initrd.img-" + release
	if _, err := os.Stat(initrd); err != nil {
		Unmet(t, "there is no "+initrd+": install initramfs-tools and reinstall the kernel")
	}
	return kernel, initrd, "/lib/modules/" + release
}

// vmImage makes a disk with everything on it.
func vmImage(ctx context.Context, tree, image, modules string, vm VM) error {
	d, err := thisDebian()
	if err != nil {
		return err
	}
	base, err := d.hostTree(ctx, "trixie", []string{"kmod"}) // the kernel asks modprobe for what it lacks
	if err != nil {
		return err
	}
	tarball, err := MachineTarball(ctx, "trixie")
	if err != nil {
		return err
	}
	product, err := staged()
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(tree, name) }
	argvs := [][]string{
		{"cp", "--archive", base, tree},
		{"cp", "--archive", filepath.Join(product, "product") + "/.", tree},
		{"mkdir", "-p", in("usr/lib/modules"), filepath.Dir(in(fixtureTarball))},
		{"cp", "--archive", modules, in("usr/lib/modules/")},
		{"cp", tarball, in(fixtureTarball)},
		{"cp", filepath.Join(product, fixtureBinary), in(pluginDirectory)},
	}
	for name, from := range vm.Files {
		argvs = append(argvs, []string{"cp", "--sparse=always", from, in(name)})
	}
	for _, argv := range argvs {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
		}
	}
	wants := in("etc/systemd/system/graphical.target.wants")
	script := "nspawn-build plugin-lock " + pluginDirectory + " || exit\n" + vm.Script
	err = errors.Join(
		os.WriteFile(in("root/payload.sh"), []byte(script), 0o600),
		os.WriteFile(in("etc/systemd/system/payload.service"), []byte(payloadUnit), 0o644),
		os.MkdirAll(wants, 0o755),
		os.Symlink("/etc/systemd/system/payload.service", filepath.Join(wants, "payload.service")),
	)
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-d", tree, image, "4G").CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, out)
	}
	return removeTree(tree)
}

// boot runs the virtual machine until it powers off.
func boot(ctx context.Context, t testing.TB, dir, image, kernel, initrd string, more ...string) Result {
	t.Helper()
	console, output := filepath.Join(dir, "console.log"), filepath.Join(dir, "output.log")
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append(more,
		"-accel", "tcg,thread=multi", "-smp", "2", "-m", "3072", "-cpu", "max", "-display", "none", "-nic", "none",
		"-drive", "if=virtio,format=raw,cache=unsafe,file="+image,
		"-kernel", kernel, "-initrd", initrd,
		"-append", "console=ttyS0 root=/dev/vda rw panic=-1 quiet net.ifnames=0 systemd.mask=serial-getty@ttyS1.service systemd.mask=proc-sys-fs-binfmt_misc.automount",
		"-serial", "file:"+console, "-serial", "file:"+output, "-monitor", "none")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended := onOwnThread(cmd.Run)
	printed := strings.ReplaceAll(readIfThere(output), "\r", "")
	text, status, found := strings.Cut(printed, "payload-exit: ")
	exit, err := strconv.Atoi(strings.TrimSpace(status))
	if !found || err != nil {
		t.Fatalf("the script did not end (%v); it printed:\n%s\nthe console:\n%s", ended, printed, readIfThere(console))
	}
	return Result{Stdout: text, Exit: exit}
}

func readIfThere(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(bytes.ToValidUTF8(data, nil))
}
