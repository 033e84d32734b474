"""The WSGI applications of the benchmarks of HTTP, each a name for `wsgi_server.py NAME`.

A module of its own, as gunicorn and granian import it. Must not know: any server.
"""

import itertools
import os
import time

HELLO = b"Hello, World!"
PAGE_ROWS = 20
_numbers = itertools.count(1)


def hello(environ, start_response):
    """A few bytes."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [HELLO]


def nap(environ, start_response):
    """A wait of one millisecond, as for a database."""
    time.sleep(0.001)
    return hello(environ, start_response)


def seldom(environ, start_response):
    """One request in a thousand waits for 50 milliseconds, and says so."""
    if next(_numbers) % 1000:
        return hello(environ, start_response)
    time.sleep(0.05)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"slow"]


def compute(environ, start_response):
    """So many rounds of pure Python as take 200 µs here when nobody disturbs."""
    _spin(ROUNDS)
    return hello(environ, start_response)


def file(environ, start_response):
    """The file that the environment variable names, by the server's own file wrapper."""
    path = os.environ["BENCHMARK_FILE"]
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(os.path.getsize(path)))]
    start_response("200 OK", headers)
    opened = open(path, "rb")  # noqa: SIM115 (the server closes it)
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper(opened, 262_144) if wrapper else iter(lambda: opened.read(262_144), b"")


def upload(environ, start_response):
    """Reads the body in blocks, and answers with its length."""
    size = 0
    while block := environ["wsgi.input"].read(65536):
        size += len(block)
    said = str(size).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(said)))])
    return [said]


def _spin(rounds):
    total = 0
    for number in range(rounds):
        total += number ^ 5
    return total


def _rounds_of(seconds):
    best = min(_timed(20_000) for _ in range(5))
    return int(20_000 * seconds / best)


def _timed(rounds):
    begun = time.perf_counter()
    _spin(rounds)
    return time.perf_counter() - begun


def flask_page():
    """A page of a template with a table, by Flask."""
    import flask

    app = flask.Flask("page")
    template = app.jinja_env.from_string(
        "<table>{% for row in rows %}<tr><td>{{ row }}</td></tr>{% endfor %}</table>"
    )

    @app.get("/")
    def page():
        return template.render(rows=range(PAGE_ROWS))

    return app


def django_page():
    """The same page by Django, with the middleware of a new project that needs no database."""
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.template import Context, Engine
    from django.urls import path

    template = Engine().from_string("<table>{% for row in rows %}<tr><td>{{ row }}</td></tr>{% endfor %}</table>")

    def page(request):
        return HttpResponse(template.render(Context({"rows": range(PAGE_ROWS)})))

    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=type("Urls", (), {"urlpatterns": [path("", page)]}),
        SECRET_KEY="for the benchmark only",
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
    )
    django.setup()
    return get_wsgi_application()


_chosen = os.environ.get("BENCHMARK_APPLICATION", "hello")
ROUNDS = _rounds_of(200e-6) if _chosen == "compute" else 0
application = {"flask": flask_page, "django": django_page}.get(_chosen, lambda: globals()[_chosen])()
