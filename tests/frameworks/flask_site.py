"""The site in Flask."""

from __future__ import annotations

import io

import flask
from answers import blocks, content, description

application = flask.Flask(__name__)


@application.get("/")
def hello() -> str:
    return "hello"


@application.get("/echo")
def echo() -> str:
    return flask.request.args["x"]


@application.post("/upload")
def upload() -> str:
    return description(flask.request.files["file"].stream)


@application.get("/download")
def download() -> flask.Response:
    body = io.BytesIO(content(int(flask.request.args["size"])))
    return flask.send_file(body, mimetype="application/octet-stream")


@application.get("/stream")
def stream() -> flask.Response:
    return flask.Response(blocks(int(flask.request.args["size"])), mimetype="application/octet-stream")


@application.get("/fail")
def fail() -> str:
    raise ValueError("on purpose")
