"""The page and how a browser gets in: by a link with the token, or by a form that asks for it.

Either gives the browser a cookie that no script can read and that no other site makes it send. The
page itself holds no data: it asks the API for them.

    python serve.py
"""

from functools import cache
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from vpp.serve.guard import has_cookie, has_token
from vpp.serve.token import cookie_of, is_same

HERE = Path(__file__).resolve().parent
REPORT = HERE.parent / "report" / "page.html"  # its style is the page's, too
STYLE = "page.css"
ASSETS = {
    STYLE: "text/css",
    "page.js": "text/javascript",
    "parts.js": "text/javascript",
    "draw.js": "text/javascript",
    "words.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
YEAR_S = 365 * 24 * 3600
WRONG = '<p class="warning" role="alert">This is not the token.</p>'

router = APIRouter(include_in_schema=False)


@cache
def text_of(name: str) -> str:
    """The text of a file of this folder.

    Parameters
    ----------
    name : of the file.
    """
    return (HERE / name).read_text(encoding="utf-8")


@cache
def style() -> str:
    """The report's style, and what the page adds to it."""
    report = REPORT.read_text(encoding="utf-8")
    shared = report.partition("<style>")[2].partition("</style>")[0]
    colours = REPORT.with_name("colours.css").read_text(encoding="utf-8")
    return shared.replace("{{colours}}", colours) + text_of("page.css")


@router.get("/")
async def page(request: Request) -> Response:
    """The page; without the cookie the form that asks for the token."""
    token: str = request.app.state.token
    given = request.query_params.get("token")
    if given is not None:
        return _enter(given, token)
    if not has_token(request.headers, token) and not has_cookie(request.headers, token):
        return HTMLResponse(text_of("login.html").replace("{{wrong}}", ""), 401)
    return HTMLResponse(text_of("page.html"))


@router.post("/login")
async def login(request: Request) -> Response:
    """Take the token of the form."""
    given = parse_qs((await request.body()).decode("utf-8", "replace")).get("token", [""])[0]
    return _enter(given.strip(), request.app.state.token)


def _enter(given: str, token: str) -> Response:
    """Let a browser in with its cookie, or ask again."""
    if not is_same(given, token):
        return HTMLResponse(text_of("login.html").replace("{{wrong}}", WRONG), 401)
    response = RedirectResponse("/", 303)
    name, value = cookie_of(token)
    response.set_cookie(name, value, max_age=YEAR_S, httponly=True, samesite="strict", path="/")
    return response


@router.get("/assets/{name}")
async def asset(name: str) -> Response:
    """A file that the page loads.

    Parameters
    ----------
    name : of the file.
    """
    if name not in ASSETS:
        raise HTTPException(404, f"there is no {name[:80]!r}")
    text = style() if name == STYLE else text_of(name)
    return Response(text, media_type=ASSETS[name])
