"""Keys, certificates and kubeconfigs of one throw-away cluster, by openssl."""

import base64
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

USERS = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "kwok": "/O=system:masters/CN=kwok",
}
EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def _openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def make_keys(folder: Path) -> None:
    """An own certificate authority, a server certificate for loopback, a client one per user."""
    folder.mkdir(parents=True)
    authority = folder / "ca"
    _openssl(
        "req", "-x509", *EC_KEY, "-keyout", f"{authority}.key", "-out", f"{authority}.crt",
        "-days", 30, "-subj", "/CN=fleetmend-test",
    )  # fmt: skip
    names = "IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"
    server = f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n"
    _issue(folder, "apiserver", "/CN=kube-apiserver", server)
    for user, subject in USERS.items():
        _issue(folder, user, subject, "extendedKeyUsage=clientAuth\n")
    _openssl("genrsa", "-out", folder / "accounts.key", 2048)
    _openssl("rsa", "-in", folder / "accounts.key", "-pubout", "-out", folder / "accounts.pub")


def _issue(folder: Path, name: str, subject: str, extensions: str) -> None:
    base = folder / name
    base.with_suffix(".ext").write_text(extensions)
    _openssl("req", *EC_KEY, "-keyout", f"{base}.key", "-out", f"{base}.csr", "-subj", subject)
    signing = ["-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial"]
    result = ["-days", 30, "-out", f"{base}.crt", "-extfile", f"{base}.ext"]
    _openssl("x509", "-req", "-in", f"{base}.csr", *signing, *result)


def client_credentials(keys: Path, user: str) -> dict[str, str]:
    """What a kubeconfig says of a user with a certificate."""
    return {
        "client-certificate-data": _inline((keys / f"{user}.crt").read_bytes()),
        "client-key-data": _inline((keys / f"{user}.key").read_bytes()),
    }


def write_kubeconfig(
    path: Path, *, authority: bytes, user: str, url: str, credentials: Mapping[str, str]
) -> None:
    """A kubeconfig of `user` with everything inside it."""
    cluster = {"server": url, "certificate-authority-data": _inline(authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": user, "user": dict(credentials)}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
    }
    path.write_text(json.dumps(config))


def _inline(content: bytes) -> str:
    return base64.b64encode(content).decode()
