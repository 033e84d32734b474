"""The site in Falcon."""

from __future__ import annotations

from typing import Any

import falcon
from answers import blocks, content, description


class Hello:
    def on_get(self, request: Any, response: Any) -> None:
        response.text = "hello"


class Echo:
    def on_get(self, request: Any, response: Any) -> None:
        response.text = request.get_param("x")

    on_head = on_get  # Falcon answers HEAD where it is told to


class Upload:
    def on_post(self, request: Any, response: Any) -> None:
        for part in request.get_media():
            if part.name == "file":
                response.text = description(part.stream)


class Download:
    def on_get(self, request: Any, response: Any) -> None:
        response.data = content(request.get_param_as_int("size"))


class Stream:
    def on_get(self, request: Any, response: Any) -> None:
        response.stream = blocks(request.get_param_as_int("size"))


class Fail:
    def on_get(self, request: Any, response: Any) -> None:
        raise ValueError("on purpose")


application = falcon.App()
for path, resource in {
    "/": Hello(),
    "/echo": Echo(),
    "/upload": Upload(),
    "/download": Download(),
    "/stream": Stream(),
    "/fail": Fail(),
}.items():
    application.add_route(path, resource)
