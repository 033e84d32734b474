"""Requests as browsers, command-line clients, libraries, proxies and probes send them: everyday traffic.

Written after what such clients send, with invented hosts, cookies and contents. All are right and must be read.
"""

from __future__ import annotations

__all__ = ["RECORDED"]


def _request(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


_FORM = b"user=ada+l&next=%2Fshop%3Fpage%3D2&remember=on"
_JSON = '{"name": "M\u00f6bius", "sizes": [1, 2, 3]}'.encode()
_PART = (
    b'------formEdge7Qx\r\nContent-Disposition: form-data; name="file"; filename="a b.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nGET / HTTP/1.1\r\n\r\n\x00\xff\r\n------formEdge7Qx--\r\n"
)
_SOAP = b"<?xml version='1.0'?><Envelope><Body><Quote symbol='X'/></Body></Envelope>"
_PROPFIND = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'

#: What sent it, and the bytes.
RECORDED: dict[str, bytes] = {
    "firefox opens a page": _request(
        "GET /shop/?page=2&sort=price HTTP/1.1",
        "Host: shop.example.com",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language: de,en-US;q=0.7,en;q=0.3",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Connection: keep-alive",
        "Cookie: session=Zm9vYmFy; theme=dark; _ga=GA1.1.1000000001.1700000000",
        "Upgrade-Insecure-Requests: 1",
        "Sec-Fetch-Dest: document",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Site: none",
        "Sec-Fetch-User: ?1",
        "DNT: 1",
        "Priority: u=0, i",
    ),
    "chrome fetches from a script": _request(
        "GET /api/v2/items?ids[]=1&ids[]=2 HTTP/1.1".replace("[", "%5B").replace("]", "%5D"),
        "Host: localhost:8080",
        "Connection: keep-alive",
        'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
        "sec-ch-ua-mobile: ?0",
        'sec-ch-ua-platform: "Linux"',
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
        "Accept: */*",
        "Sec-Fetch-Site: same-origin",
        "Referer: http://localhost:8080/items",
        "Accept-Encoding: gzip, deflate, br, zstd",
        'If-None-Match: W/"5f3-18c"',
    ),
    "chrome posts a form": _request(
        "POST /login HTTP/1.1",
        "Host: shop.example.com",
        f"Content-Length: {len(_FORM)}",
        "Cache-Control: max-age=0",
        "Origin: https://shop.example.com",
        "Content-Type: application/x-www-form-urlencoded",
        "Accept-Encoding: gzip, deflate, br",
        body=_FORM,
    ),
    "firefox uploads a file": _request(
        "POST /upload HTTP/1.1",
        "Host: files.example.com",
        "Content-Type: multipart/form-data; boundary=----formEdge7Qx",
        f"Content-Length: {len(_PART)}",
        "Connection: keep-alive",
        body=_PART,
    ),
    "a browser asks before it crosses origins": _request(
        "OPTIONS /api/orders HTTP/1.1",
        "Host: api.example.com",
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Headers: content-type,x-csrf-token",
        "Origin: https://app.example.com",
    ),
    "a browser opens a websocket": _request(
        "GET /socket HTTP/1.1",
        "Host: chat.example.com",
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Extensions: permessage-deflate",
    ),
    "safari resumes a film": _request(
        "GET /media/film%20(1).mp4 HTTP/1.1",
        "Host: cdn.example.com",
        "Accept: */*",
        "Range: bytes=65536-131071",
        "X-Playback-Session-Id: 7F3A0C1D-0000-4000-8000-0123456789AB",
        'If-Range: "etag"',
    ),
    "curl gets": _request("GET / HTTP/1.1", "Host: 127.0.0.1:8000", "User-Agent: curl/8.14.1", "Accept: */*"),
    "curl asks for the head": _request(
        "HEAD /x HTTP/1.1", "Host: [::1]:8000", "User-Agent: curl/8.14.1", "Accept: */*"
    ),
    "curl posts after it was told to go on": _request(
        "POST /api HTTP/1.1",
        "Host: api.example.com",
        "User-Agent: curl/8.14.1",
        "Accept: */*",
        "Content-Type: application/json",
        f"Content-Length: {len(_JSON)}",
        "Expect: 100-continue",
        body=_JSON,
    ),
    "curl uploads from a pipe": _request(
        "PUT /backup.tar HTTP/1.1",
        "Host: files.example.com",
        "User-Agent: curl/8.14.1",
        "Accept: */*",
        "Transfer-Encoding: chunked",
        body=b"a\r\n0123456789\r\n10\r\n\x00\x01\x02\x03\r\n\r\n\x04\x05\x06\x07GET \r\n0\r\n\r\n",
    ),
    "curl goes through a proxy": _request(
        "GET http://example.com/index.html?a=b HTTP/1.1",
        "Host: example.com",
        "User-Agent: curl/8.14.1",
        "Accept: */*",
        "Proxy-Connection: Keep-Alive",
    ),
    "wget gets": _request(
        "GET /dist/ HTTP/1.1",
        "Host: mirror.example.org",
        "User-Agent: Wget/1.25.0",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: Keep-Alive",
    ),
    "ab with -k": _request(
        "GET / HTTP/1.0", "Connection: Keep-Alive", "Host: localhost", "User-Agent: ApacheBench/2.3", "Accept: */*"
    ),
    "nginx passes on with HTTP/1.0": _request(
        "POST /submit HTTP/1.0",
        "Host: backend",
        "X-Real-IP: 203.0.113.7",
        "X-Forwarded-For: 198.51.100.3, 203.0.113.7",
        "X-Forwarded-Proto: https",
        "Connection: close",
        "Content-Length: 3",
        "content-type: text/plain",
        body=b"a=b",
    ),
    "haproxy passes on": _request(
        "GET /a;v=1/b,c HTTP/1.1",
        "host: shop.example.com",
        "user-agent: Mozilla/5.0",
        "accept: */*",
        "x-forwarded-for: 2001:db8::7",
        "via: 1.1 edge-3 (proxy)",
        "x-empty:",
    ),
    "haproxy probes": _request("OPTIONS / HTTP/1.0"),
    "a load balancer probes": _request(
        "GET /health HTTP/1.1", "Host: 10.0.3.12:8080", "Connection: close", "User-Agent: ELB-HealthChecker/2.0"
    ),
    "kubernetes probes": _request(
        "GET /readyz HTTP/1.1",
        "Host: 10.244.1.9:8080",
        "User-Agent: kube-probe/1.33",
        "Accept: */*",
        "Connection: close",
    ),
    "apache wakes its children": _request(
        "OPTIONS * HTTP/1.0", "User-Agent: Apache/2.4.65 (Unix) (internal dummy connection)"
    ),
    "prometheus scrapes": _request(
        "GET /metrics?name%5B%5D=up HTTP/1.1",
        "Host: node-1:9100",
        "User-Agent: Prometheus/3.5.0",
        "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
        "Accept-Encoding: gzip",
        "X-Prometheus-Scrape-Timeout-Seconds: 10",
    ),
    "requests deletes": _request(
        "DELETE /users/42 HTTP/1.1",
        "Host: api.example.com",
        "User-Agent: python-requests/2.32.5",
        "Accept-Encoding: gzip, deflate",
        "Accept: */*",
        "Connection: keep-alive",
        "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
        "Content-Length: 0",
    ),
    "go posts without knowing how much": _request(
        "POST /rpc HTTP/1.1",
        "Host: rpc.example.com",
        "User-Agent: Go-http-client/1.1",
        "Transfer-Encoding: chunked",
        "Trailer: Checksum",
        "Accept-Encoding: gzip",
        body=b"5\r\nhello\r\n7\r\n, world\r\n0\r\nChecksum: 1f2e\r\n\r\n",
    ),
    "java speaks soap": _request(
        "POST /services/quote HTTP/1.1",
        'SOAPAction: "urn:quote"',
        "Content-Type: text/xml; charset=utf-8",
        "User-Agent: Java/21.0.8",
        "Host: soap.example.com",
        "Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        "Connection: keep-alive",
        f"Content-Length: {len(_SOAP)}",
        body=_SOAP,
    ),
    "a file manager looks into a folder": _request(
        "PROPFIND /dav/Bilder%20%C3%BC/ HTTP/1.1",
        "Host: dav.example.com",
        "Depth: 1",
        "Content-Type: application/xml",
        f"Content-Length: {len(_PROPFIND)}",
        body=_PROPFIND,
    ),
    "a client of old sends latin-1": _request("GET /search?q=caf%E9 HTTP/1.1", "Host: a", "X-Name: Ren\xe9  \t "),
    "a browser leaves brackets and backslashes in the query": _request(
        "GET /files/[a]|b?path=C:\\dir&ids[]={1}^`|100% HTTP/1.1",
        "Host: localhost:8080",
        "User-Agent: Mozilla/5.0",
        "Accept: */*",
    ),
    "a browser opens a tunnel": _request(
        "CONNECT example.com:443 HTTP/1.1",
        "Host: example.com:443",
        "Proxy-Connection: keep-alive",
        "User-Agent: Mozilla/5.0",
    ),
}
