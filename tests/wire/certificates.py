"""A certificate for `localhost` that signs itself, good until 2126, for tests of TLS. Its key is no secret."""

from __future__ import annotations

import ssl
from pathlib import Path

__all__ = ["client_context", "server_context"]

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUR32H0/Qx+OIyTpeY2VqDvGho1CUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE0NTgzNVoYDzIxMjYxMDI5
MTQ1ODM1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQsEmBy6lW8Uvzvws3u1votMOfEdKFRtEFtiy2TqS1APqdKEKcOKp/y
lEFfuQwfencdXhJkwfbFsU6jGab+f3c2o2kwZzAdBgNVHQ4EFgQUns13HmS0xMG4
AMwmF6iVxyprJ44wHwYDVR0jBBgwFoAUns13HmS0xMG4AMwmF6iVxyprJ44wFAYD
VR0RBA0wC4IJbG9jYWxob3N0MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwID
RwAwRAIgdXZnw/U8bH2YkGD0oN4MKiIZtA4bkQvJ15Vh83e75IwCIFK0iemRSEQw
NB7LF2AJwzlqzzov5H6pjLZPZpqkuKuJ
-----END CERTIFICATE-----
"""

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+vH8wPfyhl+lvbqs
ac092S5zOrC2yDHMPSFHCVnA5vuhRANCAAQsEmBy6lW8Uvzvws3u1votMOfEdKFR
tEFtiy2TqS1APqdKEKcOKp/ylEFfuQwfencdXhJkwfbFsU6jGab+f3c2
-----END PRIVATE KEY-----
"""


def server_context(folder: Path) -> ssl.SSLContext:
    """Return the context of a server that has the certificate. `folder`: where it may be written."""
    path = folder / "certificate.pem"
    path.write_text(CERTIFICATE + KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def client_context() -> ssl.SSLContext:
    """Return the context of a client that trusts the certificate."""
    return ssl.create_default_context(cadata=CERTIFICATE)
