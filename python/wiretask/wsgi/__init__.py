"""The WSGI server: its settings, what it believes of proxies, and how applications are named."""

from wiretask.wsgi.adjustments import WSGIAdjustments
from wiretask.wsgi.channel import WSGIChannel
from wiretask.wsgi.file_wrapper import FileWrapper
from wiretask.wsgi.server import WSGIServer, create_server, serve

__all__ = ["FileWrapper", "WSGIAdjustments", "WSGIChannel", "WSGIServer", "create_server", "serve"]
