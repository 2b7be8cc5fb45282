"""The session keeps to what fetchline wants of an HTTP session."""

from __future__ import annotations

import fetchline as fl
from fetchline.testing import HTTPSuite


class TestHttpx(HTTPSuite):
    session = fl.use("httpx", trust_env=False)
