"""The WSGI server: its settings, what it believes of proxies, and how applications are named."""

from wiretask.wsgi.adjustments import WSGIAdjustments

__all__ = ["WSGIAdjustments"]
