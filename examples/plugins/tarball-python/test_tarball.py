"""Tests of the plugin: `python3 -B -m unittest`, of which some need root.

They load the plugin's file, and start it as nspawn-build does. What cannot be
tested on a desk is skipped there, and a failure where CI=true says that all is.
"""

import base64
import hashlib
import importlib.machinery
import importlib.util
import io
import os
import pathlib
import ssl
import stat
import subprocess
import tarfile
import tempfile
import threading
import types
import unittest
import unittest.mock

PLUGIN = pathlib.Path(__file__).resolve().with_name("nspawn-build-plugin-tarball")


def load():
    loader = importlib.machinery.SourceFileLoader("tarball", str(PLUGIN))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("tarball", loader))
    loader.exec_module(module)
    return module


tarball = load()


def unmet(reason):
    """Ends a test for which something is missing."""
    if os.environ.get("CI") == "true":
        raise AssertionError(reason)
    raise unittest.SkipTest(reason)


def request(**fields):
    """A request without the class of its message."""
    empty = dict(
        job_id="j", distro="tarball", release="", architecture="", mirrors=["file:///srv/a.tar"], keyring="", packages=[],
        options={"sha256": "0" * 64}, target="", cache_directory="", work_directory="",
    )
    return types.SimpleNamespace(**{**empty, **fields})


def member(name, kind=tarfile.REGTYPE, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(data), 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def pack(*members, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def elf(machine):
    return b"\x7fELF\x02\x01" + bytes(12) + machine.to_bytes(2, "little") + bytes(44)


# The least that the facts are found in.
MACHINE = (
    member("./", tarfile.DIRTYPE, mode=0o700),
    member("./lib", tarfile.SYMTYPE, linkname="usr/lib"),
    member("./usr/lib/os-release", data=b'ID=debian\nPRETTY_NAME="Debian GNU/Linux 13"\n'),
    member("./usr/lib/systemd/systemd", data=elf(tarball.MACHINES[os.uname().machine]), mode=0o755),
    member("./usr/lib/systemd/system/ssh.service"),
    member("./usr/lib/systemd/system/systemd-networkd.service"),
    member("./usr/bin/apt-get", mode=0o755),
    member("./usr/bin/su", data=b"su", mode=0o4755),
    member("./usr/bin/mine", data=b"x", uid=1000, gid=1001, mtime=86400),
    member("./usr/bin/su-too", tarfile.LNKTYPE, linkname="./usr/bin/su"),
    member("./etc/resolv.conf", tarfile.SYMTYPE, linkname="/run/systemd/resolve/stub-resolv.conf"),
    member("./etc/machine-id", data=b"0123456789abcdef0123456789abcdef\n"),
    member("./etc/ssh/ssh_host_rsa_key", data=b"secret"),
    member("./dev/null", tarfile.CHRTYPE),
    member("./tmp/left", data=b"left"),
    member(
        "./var/lib/dpkg/status",
        data=b"Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\n\nPackage: gone\nStatus: deinstall ok config-files\n",
    ),
)


class Requests(unittest.TestCase):
    def test_what_is_wrong_is_said_with_a_hint(self):
        for field, fields in {
            "distro": {"distro": "suse"},
            "release": {"release": "13"},
            "architecture": {"architecture": "z80"},
            "mirrors": {"mirrors": []},
            "options.sha256": {"options": {}},
            "options": {"options": {"sha256": "0" * 64, "x": "y"}},
            "packages": {"packages": ["git"]},
            "keyring": {"keyring": "/etc/key.asc"},
        }.items():
            with self.subTest(field):
                _, found = tarball.resolve(request(**fields))
                self.assertEqual([d["field"] for d in found], [field])
                self.assertTrue(found[0]["hint"])

    def test_addresses_are_files_or_https(self):
        for address, good in {
            "file:///srv/a.tar.xz": True, "https://example.org/a.tar": True, "https://example.org:8443/a?b": True,
            "http://example.org/a": False, "file://srv/a": False, "/srv/a": False, "https://me:secret@example.org/a": False,
            "https:///a": False, "https://a\nb/": False, "https://a:b/": False, "-x": False, "": False,
        }.items():
            self.assertEqual(not tarball.fault_of(address), good, address)

    def test_defaults_are_filled_in(self):
        resolved, found = tarball.resolve(request(options={"sha256": "A" * 64}))
        self.assertEqual((found, resolved["release"], resolved["options"]["sha256"]), ([], "any", "a" * 64))


class Trees(unittest.TestCase):
    """What becomes of a tarball: real files of real owners, so as root."""

    def setUp(self):
        if os.geteuid() != 0:
            unmet("root makes files of others")
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.tree = self.directory / "tree"
        self.tree.mkdir()

    def work(self, data, **fields):
        """Runs a job and returns its events."""
        (self.directory / "a.tar").write_bytes(data)
        fields = {
            "mirrors": [f"file://{self.directory}/a.tar"], "options": {"sha256": hashlib.sha256(data).hexdigest()},
            "target": str(self.tree), "work_directory": str(self.directory), **fields,
        }
        canceled = threading.Event()
        return list(tarball.end_well(tarball.work(request(**fields), canceled), canceled))

    def test_every_compression_makes_the_same_machine(self):
        plain = pack(*MACHINE)
        zstd = subprocess.run(["zstd", "-qc"], input=plain, stdout=subprocess.PIPE, check=True).stdout
        for name, data in {"tar": plain, "gz": pack(*MACHINE, mode="w:gz"), "bz2": pack(*MACHINE, mode="w:bz2"), "xz": pack(*MACHINE, mode="w:xz"), "zst": zstd}.items():
            with self.subTest(name):
                self.tree = self.directory / name
                self.tree.mkdir()
                events = self.work(data)
                self.assertIn("finished", events[-1], events[-1])
                self.assertEqual([e["phase"]["name"] for e in events if "phase" in e], ["verify", "unpack", "tidy"])
                self.check(events[-1]["finished"]["facts"])

    def check(self, facts):
        self.assertEqual(facts["os_release"], {"ID": "debian", "PRETTY_NAME": "Debian GNU/Linux 13"})
        self.assertEqual((facts["ssh_units"], facts["network_units"], facts["package_manager"]), (["ssh.service"], ["systemd-networkd.service"], "apt-get"))
        self.assertEqual(facts["packages"], [{"name": "bash", "version": "5.2", "architecture": "amd64"}])
        su, mine = (self.tree / "usr/bin/su").stat(), (self.tree / "usr/bin/mine").stat()
        self.assertEqual((stat.S_IMODE(su.st_mode), su.st_nlink), (0o4755, 2))
        self.assertEqual((mine.st_uid, mine.st_gid, mine.st_mtime), (1000, 1001, 86400))
        self.assertEqual(os.readlink(self.tree / "etc/resolv.conf"), "/run/systemd/resolve/stub-resolv.conf")
        self.assertEqual((self.tree / "etc/machine-id").read_bytes(), b"")
        self.assertEqual(list((self.tree / "etc/ssh").iterdir()), [])
        self.assertEqual([stat.S_IMODE((self.tree / d).stat().st_mode) for d in (".", "tmp", "proc")], [0o755, 0o1777, 0o555])
        for name in ("dev", "run", "tmp"):
            self.assertEqual(list((self.tree / name).iterdir()), [])

    def test_nothing_is_written_outside_of_the_tree(self):
        outside = self.directory / "outside"
        outside.mkdir()
        (outside / "file").write_text("mine")
        for what, members in {
            "a name with ..": (member("../outside/evil"),),
            "a directory that is a link": (member("a", tarfile.SYMTYPE, linkname=str(outside)), member("a/evil")),
            "a relative link": (member("a", tarfile.SYMTYPE, linkname="../outside"), member("a/b/evil")),
            "a hard link to a name with ..": (member("a", tarfile.LNKTYPE, linkname="../outside/file"),),
            "a hard link through a link": (member("a", tarfile.SYMTYPE, linkname=str(outside)), member("b", tarfile.LNKTYPE, linkname="a/file")),
            "a device": (member("etc/disk", tarfile.BLKTYPE),),
            "a directory twice": (member("a", tarfile.DIRTYPE), member("a", tarfile.SYMTYPE, linkname="/")),
        }.items():
            with self.subTest(what):
                self.tree = self.directory / what
                self.tree.mkdir()
                events = self.work(pack(*members))
                self.assertEqual(events[-1]["failed"]["code"], tarball.INVALID_REQUEST, events[-1])
                self.assertEqual({p.name: p.read_text() for p in outside.iterdir()}, {"file": "mine"})

    def test_a_file_in_the_place_of_a_link_is_a_file(self):
        secret = self.directory / "secret"
        secret.write_text("mine")
        self.work(pack(member("a", tarfile.SYMTYPE, linkname=str(secret)), member("a", data=b"theirs"), member("/b", data=b"absolute")))
        self.assertEqual((secret.read_text(), (self.tree / "a").read_text(), (self.tree / "b").read_text()), ("mine", "theirs", "absolute"))

    def test_failures_have_the_code_of_their_kind(self):
        good = pack(*MACHINE)
        for what, code, data, fields in (
            ("another digest", tarball.VERIFICATION, good, {"options": {"sha256": "0" * 64}}),
            ("no such file", tarball.MIRROR, good, {"mirrors": ["file:///none.tar"]}),
            ("no tarball", tarball.INVALID_REQUEST, b"hello" * 1000, {}),
            ("cut off", tarball.INVALID_REQUEST, pack(*MACHINE, mode="w:xz")[:-200], {}),
            ("no os-release", tarball.INVALID_REQUEST, pack(member("a")), {}),
            ("no ssh", tarball.INVALID_REQUEST, pack(*(m for m in MACHINE if "ssh" not in m[0].name)), {}),
            ("another machine", tarball.INVALID_REQUEST, pack(*MACHINE, member("usr/lib/systemd/systemd", data=elf(1))), {}),
            ("nobody there", tarball.MIRROR, good, {"mirrors": ["https://127.0.0.1:9/a.tar"]}),
        ):
            with self.subTest(what):
                self.tree = self.directory / what
                self.tree.mkdir()
                events = self.work(data, **fields)
                self.assertEqual(events[-1]["failed"]["code"], code, events[-1])
                self.assertTrue(all("failed" not in e and "finished" not in e for e in events[:-1]))

    def test_a_download_is_kept_under_its_digest(self):
        import http.server

        data = pack(*MACHINE)
        key, certificate = tarball.make_certificate()
        from cryptography.hazmat.primitives import serialization

        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (self.directory / "pem").write_bytes(key + pem)
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.enterContext(unittest.mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(self.directory / "pem"), "no_proxy": "localhost"}))
        cache = self.directory / "cache"
        cache.mkdir()
        fields = {"mirrors": [f"https://localhost:{server.server_port}/a.tar"], "cache_directory": str(cache)}
        kept = cache / f"sha256-{hashlib.sha256(data).hexdigest()}"
        for round, requests in (("first", 1), ("kept", 1), ("spoiled", 2)):
            if round == "spoiled":
                kept.write_bytes(data[:-1])
            self.tree = self.directory / round
            self.tree.mkdir()
            events = self.work(data, **fields)
            self.assertIn("finished", events[-1], events[-1])
            self.assertEqual(len(asked), requests, round)
            self.assertEqual([p.name for p in cache.iterdir()], [kept.name])


class Protocol(unittest.TestCase):
    """The plugin as a process, over gRPC and TLS."""

    def setUp(self):
        try:
            import cryptography
            import google.protobuf
            import grpc
        except ImportError as error:
            unmet(f"{error}: apt-get install python3-grpcio python3-protobuf python3-cryptography")
        self.grpc = grpc
        self.of = tarball.load_messages()
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        from cryptography.hazmat.primitives import serialization

        self.key, certificate = tarball.make_certificate()
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        environment = {
            "NSPAWN_BUILD_PLUGIN": "nspawnbuild.bootstrap", "PLUGIN_PROTOCOL_VERSIONS": "1", "PATH": os.environ["PATH"],
            "PLUGIN_UNIX_SOCKET_DIR": str(self.directory), "PLUGIN_CLIENT_CERT": self.pem.decode(),
        }
        self.process = subprocess.Popen([PLUGIN], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(self.process.stdout.close)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        line = self.process.stdout.readline().decode().strip().split("|")
        self.assertEqual(line[:3] + line[4:5], ["1", "1", "unix", "grpc"])
        self.assertEqual(os.path.dirname(line[3]), str(self.directory))
        self.address = "unix:" + line[3]
        der = base64.b64decode(line[5] + "=" * (-len(line[5]) % 4))
        self.server_pem = ssl.DER_cert_to_PEM_cert(der).encode()

    def channel(self, key, pem):
        credentials = self.grpc.ssl_channel_credentials(self.server_pem, key, pem)
        channel = self.grpc.secure_channel(self.address, credentials, [("grpc.ssl_target_name_override", "localhost")])
        self.addCleanup(channel.close)
        return channel

    def call(self, channel, name, request, stream=False):
        kind = channel.unary_stream if stream else channel.unary_unary
        answer = "BootstrapResponse" if stream else name + "Response"
        return kind(
            f"/{tarball.PACKAGE}.BootstrapService/{name}",
            request_serializer=lambda message: message.SerializeToString(), response_deserializer=self.of[answer].FromString,
        )(request, timeout=20)

    def test_it_says_what_it_is_and_ends_when_told(self):
        channel = self.channel(self.key, self.pem)
        described = self.call(channel, "Describe", self.of["DescribeRequest"]())
        self.assertEqual((described.name, described.distros[0].name, list(described.features)), ("tarball", "tarball", ["state"]))
        checked = channel.unary_unary("/grpc.health.v1.Health/Check")(b"\n\x06plugin", timeout=20)
        self.assertEqual(checked, b"\x08\x01")
        channel.unary_unary("/plugin.GRPCController/Shutdown")(b"", timeout=20)
        self.assertEqual(self.process.wait(timeout=20), 0)

    def test_nobody_else_is_let_in(self):
        other, certificate = tarball.make_certificate()
        from cryptography.hazmat.primitives import serialization

        pem = certificate.public_bytes(serialization.Encoding.PEM)
        for key, chain in ((None, None), (other, pem)):
            with self.assertRaises(self.grpc.RpcError) as refused:
                self.call(self.channel(key, chain), "Describe", self.of["DescribeRequest"]())
            self.assertEqual(refused.exception.code(), self.grpc.StatusCode.UNAVAILABLE)

    def test_what_cannot_be_planned_says_why(self):
        channel = self.channel(self.key, self.pem)
        asked = self.of["Request"](distro="tarball", mirrors=["file:///a.tar"], options={"sha256": "0" * 64}, packages=["git"])
        for name in ("Plan", "State"):
            with self.subTest(name), self.assertRaises(self.grpc.RpcError) as refused:
                self.call(channel, name, self.of[name + "Request"](request=asked))
            status = dict(refused.exception.trailing_metadata())["grpc-status-details-bin"]
            start = status.index(b"type.googleapis.com/nspawnbuild.bootstrap.v1.Failed") + len("type.googleapis.com/nspawnbuild.bootstrap.v1.Failed")
            failed = self.of["Failed"].FromString(status[start + 2:])  # the tag and the length of Any.value
            self.assertEqual((failed.code, failed.hint), (tarball.INVALID_REQUEST, "leave --package out"))
            self.assertEqual((refused.exception.code(), refused.exception.details()), (self.grpc.StatusCode.UNKNOWN, failed.message))

    def test_a_canceled_job_ends_with_the_one_event(self):
        channel = self.channel(self.key, self.pem)
        big = self.directory / "big"
        with open(big, "wb") as file:
            file.truncate(8 << 30)  # takes a while to read
        tree = self.directory / "tree"
        tree.mkdir()
        asked = self.of["Request"](
            job_id="j", distro="tarball", mirrors=[f"file://{big}"], options={"sha256": "0" * 64}, target=str(tree), work_directory=str(self.directory)
        )
        events = self.call(channel, "Bootstrap", self.of["BootstrapRequest"](request=asked), stream=True)
        self.assertEqual(next(events).phase.name, "verify")
        self.call(channel, "Cancel", self.of["CancelRequest"](job_id="j"))
        last = list(events)[-1]
        self.assertEqual(last.failed.code, tarball.CANCELED)


class ByHand(unittest.TestCase):
    def test_it_says_that_it_is_a_plugin(self):
        ran = subprocess.run([PLUGIN], capture_output=True, text=True, check=False)
        self.assertEqual((ran.returncode, ran.stdout), (2, ""))
        self.assertIn("plugin of nspawn-build", ran.stderr)


if __name__ == "__main__":
    unittest.main()
