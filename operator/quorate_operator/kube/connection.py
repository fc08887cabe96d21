"""Where the API server is and how to prove who we are: from a kubeconfig or the Pod's ServiceAccount."""

import base64
import ssl
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_SECONDS = 60.0


class KubeconfigError(ValueError):
    """The kubeconfig cannot be used; the message names file, field and rule, never a credential."""


@dataclass(slots=True)
class Connection:
    """One API server and one identity. PEM data is held as text; a token file is read again every minute."""

    server: str
    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    token: str | None = None
    token_file: Path | None = None
    _read_at: float = float("-inf")

    def headers(self) -> dict[str, str]:
        """The Authorization header, if a token is used. Projected tokens rotate, hence the re-reading."""
        if self.token_file is not None and time.monotonic() - self._read_at > _TOKEN_SECONDS:
            self.token, self._read_at = self.token_file.read_text().strip(), time.monotonic()
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def ssl_context(self) -> ssl.SSLContext:
        """TLS against the cluster's CA, with the client certificate where there is one."""
        context = ssl.create_default_context(cadata=self.ca)
        if self.certificate and self.private_key:
            # The ssl module loads client certificates from files only; this one lives for this call.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(self.certificate + "\n" + self.private_key)
                file.flush()
                context.load_cert_chain(file.name)
        return context


def load(kubeconfig: Path | None, *, env: Mapping[str, str]) -> Connection:
    """The connection of a kubeconfig's current context, or of the Pod when there is none.

    Raises:
        KubeconfigError: missing file, missing or unsupported entry.
    """
    return in_cluster(env) if kubeconfig is None else from_file(kubeconfig)


def in_cluster(env: Mapping[str, str]) -> Connection:
    """The Pod's ServiceAccount."""
    host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (_SERVICE_ACCOUNT / "token").exists():
        raise KubeconfigError("--kubeconfig: is required outside a Pod (no ServiceAccount token is mounted here)")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Connection(server, ca=(_SERVICE_ACCOUNT / "ca.crt").read_text(), token_file=_SERVICE_ACCOUNT / "token")


def from_file(path: Path) -> Connection:
    """The current context of a kubeconfig file with certificates, a token or a token file."""
    config = _read(path)
    context = _named(path, config, "contexts", config.get("current-context"))["context"]
    cluster = _named(path, config, "clusters", context.get("cluster"))["cluster"]
    user = _named(path, config, "users", context.get("user")).get("user") or {}
    if "exec" in user or "auth-provider" in user:
        raise KubeconfigError(
            f"{path}: users[].user: exec and auth-provider are not supported; use a certificate or token"
        )
    token_file = user.get("tokenFile")
    return Connection(
        server=str(cluster["server"]).rstrip("/"),
        ca=_pem(path, cluster, "certificate-authority"),
        certificate=_pem(path, user, "client-certificate"),
        private_key=_pem(path, user, "client-key"),
        token=user.get("token"),
        token_file=path.parent / token_file if token_file else None,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        config = YAML(typ="safe", pure=True).load(path.read_text())
    except FileNotFoundError:
        raise KubeconfigError(f"kubeconfig {path}: the file does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"kubeconfig {path}: cannot be read ({type(error).__name__})") from None
    except YAMLError:
        raise KubeconfigError(f"kubeconfig {path}: is not valid YAML") from None
    if not isinstance(config, dict):
        raise KubeconfigError(f"kubeconfig {path}: must be a YAML object")
    return config


def _named(path: Path, config: dict[str, Any], field: str, name: Any) -> dict[str, Any]:
    for entry in config.get(field) or ():
        if entry.get("name") == name:
            return dict(entry)
    raise KubeconfigError(f"kubeconfig {path}: {field}: no entry named {name!r}")


def _pem(path: Path, entry: dict[str, Any], field: str) -> str | None:
    if data := entry.get(f"{field}-data"):
        return base64.b64decode(data).decode()
    if name := entry.get(field):
        file = path.parent / str(name)
        if not file.exists():
            raise KubeconfigError(f"kubeconfig {path}: {field}: {name} does not exist")
        return file.read_text()
    return None
