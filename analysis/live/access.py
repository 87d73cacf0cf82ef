"""Who may read the pages: everybody who has the token of the address that was printed."""

import hmac
import secrets

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
REFUSED = (
    "This browser has no token of this server. Open the whole address that `python -m analysis serve` or\n"
    "`launch --serve` printed when it started, with its ?token=...; a server that was started again has another one.\n"
)


def new_token() -> str:
    return secrets.token_urlsafe(24)


def guard(token: str | None, host: str) -> Middleware:
    """Let requests through that carry the token, in the address once and as a cookie from then on.

    A server on the loopback interface answers only to its names, so that no other site can resolve to it.
    """

    @web.middleware
    async def checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD"), headers=HEADERS)
        if host in LOOPBACK and (request.url.host or "") not in LOOPBACK:
            raise web.HTTPForbidden(text="This server answers to localhost only.\n", headers=HEADERS)
        cookie = f"scribble-search-{request.url.port}"  # a browser sends cookies to every port of a host
        if token is not None and (given := request.query.get("token")) is not None:
            if not _same(given, token):
                raise web.HTTPUnauthorized(text=REFUSED, headers=HEADERS)
            found = web.HTTPSeeOther(request.rel_url.without_query_params("token"), headers=HEADERS)
            found.set_cookie(cookie, token, httponly=True, samesite="Lax")
            raise found
        if token is not None and not _same(request.cookies.get(cookie, ""), token):
            raise web.HTTPUnauthorized(text=REFUSED, headers=HEADERS)
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    return checked


def _same(given: str, token: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), token.encode())
