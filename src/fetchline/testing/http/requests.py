"""What a request is made of, and where its credentials go."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fetchline.testing.http.face import Face, HTTPHooks
from fetchline.testing.http.origin import Origin

__all__ = ["Requests"]

SECRETS = {"Authorization": "Bearer b", "X-Api-Key": "k", "X-Auth-Token": "t", "Cookie": "session=s"}


class Requests(HTTPHooks):
    """Base address, parameters, headers, authentication, redirects."""

    def test_base_url_is_what_paths_are_appended_to(self, face: Face, origin: Origin) -> None:
        answer = face.get("/echo/daily", {"base_url": f"{origin.url}/echo/v1"})
        assert answer.status == 200
        assert origin.asked[0].path == "/echo/v1/echo/daily"

    def test_an_address_of_its_own_is_not_appended_to_anything(self, face: Face, origin: Origin) -> None:
        face.get(f"{origin.url}/echo", {"base_url": f"{origin.url}/v1"})
        assert origin.asked[0].path == "/echo"

    def test_params_arrive_as_they_were_given(self, face: Face, origin: Origin) -> None:
        params = {"symbol": "A&B C/ü", "n": 1}
        echo = echoed(face, origin, "/echo", params=params)
        assert echo["query"] == {"symbol": "A&B C/ü", "n": "1"}

    def test_headers_of_the_session_and_of_the_request_arrive(self, face: Face, origin: Origin) -> None:
        headers = {"X-Api-Key": "k", "X-Place": "session"}
        echo = echoed(face, origin, "/echo", {"headers": headers}, headers={"X-Place": "request"})
        assert (echo["headers"]["x-api-key"], echo["headers"]["x-place"]) == ("k", "request")

    def test_auth_is_basic_authentication(self, face: Face, origin: Origin) -> None:
        answer = face.get("/basic/me/secret", {"base_url": origin.url, "auth": ("me", "secret")})
        assert (answer.status, answer.body) == (200, b"welcome")

    @pytest.mark.parametrize("status", [301, 302, 307])
    def test_redirects_are_followed(self, face: Face, origin: Origin, status: int) -> None:
        echo = echoed(face, origin, f"/redirect?to=/echo&status={status}")
        assert echo["path"] == "/echo"

    def test_a_redirect_within_the_origin_keeps_credentials(self, face: Face, origin: Origin) -> None:
        """Cookies apart: those are for the client's jar to keep."""
        headers = {name: text for name, text in SECRETS.items() if name != "Cookie"}
        echo = echoed(face, origin, "/redirect?to=/echo", {"headers": headers})
        assert {name.lower() for name in headers} <= echo["headers"].keys()

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
    def test_a_redirect_to_another_origin_drops_credentials(
        self, face: Face, origin: Origin, host: str
    ) -> None:
        """Another port is another origin."""
        with elsewhere(host) as other:
            headers = {**SECRETS, "X-Trace": "1"}
            to_other = f"/redirect?to={other.url}/echo"
            face.get(to_other, {"base_url": origin.url, "headers": headers})
            face.get(to_other, {"base_url": origin.url}, headers=headers)
            face.get(to_other, {"base_url": origin.url, "auth": ("me", "secret")})
            for asked in other.asked:
                leaked = {name.lower() for name in SECRETS} & asked.headers.keys()
                assert not leaked, f"{host} was told {sorted(leaked)}"
            assert [asked.headers.get("x-trace") for asked in other.asked] == ["1", "1", None]


def elsewhere(host: str) -> Origin:
    origin = Origin(host)
    try:
        with Origin(host):
            pass
    except OSError:
        pytest.skip(f"this machine has no {host}")
    return origin


def echoed(face: Face, origin: Origin, path: str, options: Any = None, **how: Any) -> Any:
    return json.loads(face.get(path, {"base_url": origin.url, **(options or {})}, **how).body)
