"""The site in Pyramid, for `pserve pyramid.ini`."""

from __future__ import annotations

import io
from typing import Any

from answers import blocks, content, description
from pyramid.config import Configurator
from pyramid.response import FileIter, Response


def hello(request: Any) -> Response:
    return Response("hello")


def echo(request: Any) -> Response:
    return Response(request.params["x"])


def upload(request: Any) -> Response:
    return Response(description(request.POST["file"].file))


def download(request: Any) -> Response:
    size = int(request.params["size"])
    wrapper = request.environ.get("wsgi.file_wrapper", FileIter)
    body = wrapper(io.BytesIO(content(size)))
    return Response(app_iter=body, content_type="application/octet-stream", content_length=size)


def stream(request: Any) -> Response:
    return Response(app_iter=blocks(int(request.params["size"])), content_type="application/octet-stream")


def fail(request: Any) -> Response:
    raise ValueError("on purpose")


def main(global_config: Any, **settings: Any) -> Any:
    """Return the application: `paste.app_factory`."""
    configurator = Configurator(settings=settings)
    for name, view in {
        "": hello,
        "echo": echo,
        "upload": upload,
        "download": download,
        "stream": stream,
        "fail": fail,
    }.items():
        configurator.add_route(name or "root", f"/{name}")
        configurator.add_view(view, route_name=name or "root")
    return configurator.make_wsgi_app()
