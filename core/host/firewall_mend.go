package host

import "fmt"

// mend is what opens a way, and nothing else.
func (s ruleset) mend(b Blockade) []string {
	switch b.Way.Purpose {
	case Names:
		return s.mendNames(b.Firewall)
	case Published:
		return s.mendPublished(b)
	case Beyond:
	}
	return s.mendBeyond(b.Firewall)
}

// trusted has firewalld trust all links of machines.
var trusted = []string{
	"firewall-cmd --permanent --zone=trusted --add-interface=ve-+",
	firewalldReload,
}

const firewalldReload = "firewall-cmd --reload"

// insert is how a command begins that puts a rule before all others.
func (s ruleset) insert(f Firewall) string {
	if f == NFTables {
		return fmt.Sprintf("nft insert rule %s %s %s ", s.family, s.table, s.base)
	}
	iptables, chain := "iptables", s.base
	if s.legacy {
		iptables = "iptables-legacy"
	}
	if f == Docker {
		chain = "DOCKER-USER"
	}
	return iptables + " -I " + chain + " "
}

// mendBeyond lets machines reach the world and be answered: ve-+ and ve-* are
// all the links that systemd-nspawn makes.
func (s ruleset) mendBeyond(f Firewall) []string {
	rule := s.insert(f)
	switch f {
	case Firewalld:
		return trusted
	case UFW:
		return []string{"ufw route allow in on ve-+"}
	case NFTables:
		return []string{
			rule + `iifname '"ve-*"' accept`,
			rule + `oifname '"ve-*"' ct state established,related accept`,
		}
	case Docker, IPTables:
	}
	return []string{
		rule + "-i ve-+ -j ACCEPT",
		rule + "-o ve-+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	}
}

// mendNames lets machines ask this host for names: long answers come by TCP.
func (s ruleset) mendNames(f Firewall) []string {
	rule := s.insert(f)
	switch f {
	case Firewalld:
		return trusted
	case UFW:
		return []string{"ufw allow in on ve-+ to any port 53"}
	case NFTables:
		return []string{
			rule + `iifname '"ve-*"' udp dport 53 accept`,
			rule + `iifname '"ve-*"' tcp dport 53 accept`,
		}
	case Docker, IPTables:
	}
	return []string{
		rule + "-i ve-+ -p udp --dport 53 -j ACCEPT",
		rule + "-i ve-+ -p tcp --dport 53 -j ACCEPT",
	}
}

// mendPublished lets others reach one port of one machine. What firewalld drops
// here (StrictForwardPorts=yes) it drops unless the port is one of its own.
func (s ruleset) mendPublished(b Blockade) []string {
	rule, link, to, p := s.insert(b.Firewall), b.Way.link, b.Way.machine, b.Way.port
	var there, back string
	switch b.Firewall {
	case Firewalld:
		return []string{
			fmt.Sprintf("firewall-cmd --permanent --add-forward-port=port=%d:proto=%s:toport=%d:toaddr=%s", p.Host, p.Protocol, p.Machine, to),
			firewalldReload,
		}
	case UFW: // it lets answers through
		return []string{fmt.Sprintf("ufw route allow out on %s proto %s to %s port %d", link, p.Protocol, to, p.Machine)}
	case NFTables:
		there = fmt.Sprintf(`oifname '"%s"' ip daddr %s %s dport %d accept`, link, to, p.Protocol, p.Machine)
		back = fmt.Sprintf(`iifname '"%s"' ct state established,related accept`, link)
	case Docker, IPTables:
		there = fmt.Sprintf("-o %s -d %s -p %s --dport %d -j ACCEPT", link, to, p.Protocol, p.Machine)
		back = fmt.Sprintf("-i %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", link)
	}
	var mend []string
	if b.Out {
		mend = append(mend, rule+there)
	}
	if b.Back {
		mend = append(mend, rule+back)
	}
	return mend
}
