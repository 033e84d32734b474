"""The site in Django, with its admin: a database in a file of the current directory, and static files by Django."""

from __future__ import annotations

import io
import os
from typing import Any

import django
from answers import blocks, content, description
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.abspath("database")}},
    DEBUG=True,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a test",
    STATIC_URL="/static/",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
)
django.setup()

from django.contrib import admin  # noqa: E402 (needs the settings)
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.staticfiles.handlers import StaticFilesHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import FileResponse, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


def hello(request: Any) -> HttpResponse:
    return HttpResponse("hello")


def echo(request: Any) -> HttpResponse:
    return HttpResponse(request.GET["x"])


def upload(request: Any) -> HttpResponse:
    return HttpResponse(description(request.FILES["file"]))


def download(request: Any) -> FileResponse:
    return FileResponse(io.BytesIO(content(int(request.GET["size"]))), content_type="application/octet-stream")


def stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(blocks(int(request.GET["size"])), content_type="application/octet-stream")


def fail(request: Any) -> HttpResponse:
    raise ValueError("on purpose")


urlpatterns = [
    path("", hello),
    path("echo", echo),
    path("upload", upload),
    path("download", download),
    path("stream", stream),
    path("fail", fail),
    path("admin/", admin.site.urls),
]
call_command("migrate", verbosity=0)
if not User.objects.filter(username="admin").exists():
    User.objects.create_superuser("admin", "", "password")
application = StaticFilesHandler(get_wsgi_application())
