//go:build integration

package integration

const (
	tree  = "/root/containers/box"
	fixIt = "nspawn-build doctor --fix box"
	// laterDropIn is somebody else's, and comes after ours.
	laterDropIn = "/etc/systemd/system/systemd-nspawn@box.service.d/90-mine.conf"
)

// The machine that the faults are tried on, by the systemd driver.
var patient = fixture("box", "--dns", "host", "--memory-max", "512M", "--tasks-max", "2000")

// faults are those of a host with the machine box.
var faults = []fault{
	{
		name: "networkd stopped", inject: "systemctl stop systemd-networkd.socket systemd-networkd.service",
		id: "host.networkd", says: "systemd-networkd.service does not run", exit: exitHost, fix: "systemctl enable --now systemd-networkd.service", systemd: true,
	},
	{
		name: "forward drop", inject: `nft add table inet wall && nft add chain inet wall keep '{ type filter hook forward priority 0; policy drop; }'`,
		id: "host.firewall", says: "chain keep of table inet wall", exit: exitHost, fix: "nft insert rule inet wall keep", tidy: "nft delete table inet wall",
	},
	{
		name: "resolved off", inject: "systemctl stop systemd-resolved.service",
		id: "host.resolved", says: "systemd-resolved.service does not run", exit: exitHost, fix: "systemctl enable --now systemd-resolved.service", systemd: true,
	},
	{
		name: "exposed tree", inject: "chmod 777 /root/containers",
		id: "host.exposed", says: "/root/containers", exit: exitHost, fix: "chmod 700 /root/containers",
	},
	{
		name: "broken sshd_config", inject: "sed -i '1iBogus yes' " + tree + "/etc/ssh/sshd_config",
		id: "machine.sshd-config", about: "box", says: "Bogus", exit: exitUnreachable, fix: "sed -i.broken -e '1s/^/#/;' /etc/ssh/sshd_config",
	},
	{
		name:   "broken sshd_config that sshd was restarted with",
		inject: "sed -i '1iBogus yes' " + tree + "/etc/ssh/sshd_config; ! nspawn-build exec box systemctl restart ssh.service",
		id:     "machine.sshd-config", about: "box", says: "Bogus", exit: exitUnreachable, fix: "systemctl restart",
	},
	{
		name: "address taken", inject: "ip link add rival type bridge && ip address add 192.168.200.77/24 dev rival && ip link set rival up",
		id: "machine.address-taken", about: "box", says: "192.168.200.77/24 on rival", exit: exitUnreachable,
		fix: "ip address delete 192.168.200.77/24 dev rival", tidy: "ip link delete rival",
	},
	{
		name: "link renamed", inject: "ip link set ve-box down && ip link set ve-box name elsewhere && ip link set elsewhere up",
		id: "machine.link", about: "box", says: "elsewhere", exit: exitUnreachable, fix: fixIt,
	},
	{
		name: "host key changed", inject: "rm " + tree + "/etc/ssh/ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N '' -f " + tree + "/etc/ssh/ssh_host_ed25519_key && nspawn-build exec box systemctl reset-failed && nspawn-build exec box systemctl restart ssh.service",
		id: "machine.host-key", about: "box", says: "host key", exit: exitUnreachable, fix: fixIt,
	},
	{
		name: "limits removed by hand", inject: "rm -r /etc/systemd/system/systemd-nspawn@box.service.d && systemctl daemon-reload",
		id: "machine.limits", about: "box", says: "50-nspawn-build.conf", exit: exitBoot, fix: fixIt, systemd: true,
	},
	{
		name: "limits changed behind our back, beside what is none", inject: "systemctl set-property systemd-nspawn@box.service TasksMax=7000 CPUWeight=77",
		id: "machine.limits", about: "box", says: "limits.tasks-max: the service manager has 7000", exit: exitBoot, fix: fixIt,
		tidy: "test $(systemctl show --value --property CPUWeight systemd-nspawn@box.service) = 77 && systemctl daemon-reload && test -e " + controlForGood + "/50-CPUWeight.conf && rm -r " + controlForGood + " && rmdir /etc/systemd/system.control && systemctl daemon-reload", systemd: true,
	},
	{
		name: "limits that a later file says otherwise", inject: "printf '[Service]\\nMemoryMax=1G\\nCPUWeight=50\\n' >" + laterDropIn + " && systemctl daemon-reload && if nspawn-build doctor --fix box | grep mended; then exit 1; fi",
		id: "machine.limits", about: "box", says: "limits.memory-max: is 1G by " + laterDropIn, exit: exitBoot, fix: "' " + laterDropIn + " && systemctl daemon-reload",
		tidy: "grep -qx CPUWeight=50 " + laterDropIn + " && rm " + laterDropIn + " && systemctl daemon-reload", systemd: true,
	},
	{
		name: "a limit that was not asked for here", inject: "systemctl set-property --runtime systemd-nspawn@box.service MemoryHigh=256M",
		id: "machine.limits", about: "box", says: "limits.memory-high: is 256M by " + controlForNow + "/50-MemoryHigh.conf", exit: exitDone, fix: "rm " + controlForNow + "/50-MemoryHigh.conf",
		tidy: "rmdir " + controlForNow + " /run/systemd/system.control", systemd: true,
	},
	{
		name: "orphan state",
		inject: `for dir in /etc/systemd/network/50-ve-gone.network /etc/systemd/nspawn/gone.nspawn \
				/etc/systemd/system/nspawn-build-link@gone.service; do
				echo '# Made by nspawn-build for machine gone.' >$dir; done
			mkdir -p /var/lib/nspawn-build/journal /run/nspawn-build/machines/gone
			echo '{}' >/var/lib/nspawn-build/journal/gone.jsonl
			mkdir -m 700 /root/containers/.nspawn-build-gone-ABCDEFGHIJKLMNOPQRSTUVWXYZ
			nft add table ip nspawn-build-gone`,
		id: "host.orphan", says: "has no machine", exit: exitDone, fix: "nspawn-build doctor --fix", systemd: true,
	},
	{
		name: "stale link", inject: "ln -s /root/containers/gone /var/lib/machines/gone",
		id: "host.stale-link", says: "/var/lib/machines/gone", exit: exitDone, fix: "rm /var/lib/machines/gone",
	},
	{
		name: "stale veth", inject: "ip link add ve-gone type veth peer name gone",
		id: "host.stale-link", says: "ve-gone", exit: exitDone, fix: "ip link delete ve-gone",
	},
	{
		name: "settings of a machine that is gone", inject: "systemctl set-property systemd-nspawn@gone.service TasksMax=7000",
		id: "host.orphan", says: "system.control", exit: exitDone, fix: "rm -r /etc/systemd/system.control/systemd-nspawn@gone.service.d",
		tidy: "rmdir /etc/systemd/system.control", systemd: true,
	},
	{
		name: "files of ours gone", inject: "rm /etc/systemd/network/50-ve-box.network /etc/systemd/nspawn/box.nspawn /var/lib/machines/box /etc/ssh/ssh_config.d/50-nspawn-build.conf && networkctl reload",
		id: "machine.image-link", about: "box", says: "/var/lib/machines/box", exit: exitBoot, fix: fixIt, systemd: true,
	},
	{
		name: "a file of somebody else in the place of ours", inject: "echo '# mine' >/etc/systemd/nspawn/box.nspawn",
		id: "machine.files", about: "box", says: "/etc/systemd/nspawn/box.nspawn", exit: exitBoot, fix: "mv /etc/systemd/nspawn/box.nspawn",
		tidy: "grep -q mine /etc/systemd/nspawn/box.nspawn.other && rm /etc/systemd/nspawn/box.nspawn.other", systemd: true,
	},
	{
		name: "a .network file that comes before ours", inject: `printf '[Match]\nName=ve-*\n[Network]\nDHCP=no\n' >/etc/systemd/network/10-all.network && networkctl reload && sleep 1`,
		id: "machine.network-file", about: "box", says: "/etc/systemd/network/10-all.network", exit: exitUnreachable,
		fix: "mv /etc/systemd/network/10-all.network /etc/systemd/network/95-all.network", tidy: "rm /etc/systemd/network/95-all.network && networkctl reload", systemd: true,
	},
	{ // what keeps the link of a host without networkd puts it back at once
		name: "the address of the link removed", inject: "ip address flush dev ve-box",
		id: "machine.link", about: "box", says: "does not have the address", exit: exitUnreachable, fix: fixIt, systemd: true,
	},
	{
		name: "forwarding turned off", inject: "sysctl -qw net.ipv4.ip_forward=0",
		id: "host.forwarding", says: "box", exit: exitHost, fix: "sysctl -w net.ipv4.ip_forward=1",
	},
	{
		name: "keys that others may write", inject: "chmod 777 " + tree + "/root/.ssh",
		id: "machine.keys", about: "box", says: "/root/.ssh", exit: exitUnreachable, fix: "chmod go-w /root/.ssh",
	},
	{
		name: "a failed unit", inject: "printf '[Service]\\nType=oneshot\\nExecStart=test -e /run/glad\\n' >" + tree + "/etc/systemd/system/sad.service; nspawn-build exec box systemctl daemon-reload; ! nspawn-build exec box systemctl start sad.service; nspawn-build exec box touch /run/glad",
		id: "machine.failed-units", about: "box", says: "sad.service", exit: exitDone, fix: "systemctl restart sad.service",
	},
	{
		name: "plugins that others can change", inject: "chmod 777 /usr/local/lib/nspawn-build/plugins",
		id: "host.plugin-directory", says: "/usr/local/lib/nspawn-build/plugins", exit: exitHost, fix: "chmod go-w /usr/local/lib/nspawn-build/plugins",
	},
	{
		name: "no init in tree", inject: "nspawn-build stop box && rm " + tree + "/usr/lib/systemd/systemd && ! nspawn-build start box",
		id: "machine.init", about: "box", says: "no init", exit: exitBoot, fix: "nspawn-build destroy box && nspawn-build create --file box.anew.yaml",
		tidy: "rm box.anew.yaml",
	},
}

const keptTrees = "/var/cache/nspawn-build/rootfs"

// cacheFaults are those of the trees that are kept, of which the machine's is one.
var cacheFaults = []fault{
	{
		name: "a cached tree that is damaged", inject: "for f in " + keptTrees + "/*/tree.tar.zst; do printf damaged | dd of=$f bs=1 seek=5000 conv=notrunc; done",
		id: "host.cache", says: "1 of the trees that are kept cannot be used", exit: exitDone, fix: "nspawn-build doctor --fix",
	},
	{
		name: "a cached tree that is half made", inject: "mkdir -m 700 " + keptTrees + "/.new-ABCDEFGHIJKLMNOPQRSTUVWXYZ",
		id: "host.cache", says: "there are 1 half made", exit: exitDone, fix: "nspawn-build doctor --fix", tidy: "! ls -d " + keptTrees + "/.new-*",
	},
	{
		name: "cached trees that others can read", inject: "chmod 755 " + keptTrees,
		id: "host.cache", says: keptTrees + " is not a directory that root alone can come near", exit: exitDone, fix: "rm -r " + keptTrees,
	},
}
