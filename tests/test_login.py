"""How people, terminals, browsers, jobs and machines become somebody: by an identity provider, by a link, by the token of their platform, by a certificate."""

import html
import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests
from browser import Browser as Chromium
from conftest import BINARY, constant, wait_for, write_model
from joserfc import jwk, jwt
from test_clock import LIBRARY
from test_transport import Authority

GITHUB = {"repository": "acme/fraud", "repository_id": "4711", "repository_owner_id": "12", "ref": "refs/heads/main", "environment": "production", "sub": "repo:acme/fraud:ref:refs/heads/main"}


class Provider:
    """A real identity provider; each user is what it says of them."""

    def __init__(self):
        program = "import oidc_provider_mock, time\nwith oidc_provider_mock.run_server_in_thread(require_nonce=True) as s:\n    print(s.server_port, flush=True)\n    time.sleep(3600)"
        environment = {**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"}
        self.process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.issuer = f"http://localhost:{self.process.stdout.readline().strip()}"

    def user(self, subject, **claims):
        assert requests.put(f"{self.issuer}/users/{subject}", json=claims).status_code == 204

    def let_in(self, url, subject):
        """What somebody does there; gives the address that the browser is sent back to."""
        answer = requests.post(url, data={"sub": subject}, allow_redirects=False)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def stop(self):
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def provider():
    provider = Provider()
    yield provider
    provider.stop()


class Browser(requests.Session):
    """A browser as far as a login is concerned: cookies, redirects, forms with an `Origin`."""

    def __init__(self, platform):
        super().__init__()
        self.url, self.verify, self.trust_env = platform.url, str(platform.data / "tls/ca.pem"), False

    def open(self, path):
        return self.get(urljoin(self.url, path), allow_redirects=False)

    def submit(self, path, **form):
        return self.post(urljoin(self.url, path), data=form, headers={"Origin": self.url}, allow_redirects=False)

    def log_in(self, provider, subject, start="/login/start"):
        """Goes to the provider and comes back; gives the page."""
        there = self.open(start)
        assert there.status_code == 302, there.text
        return self.open(provider.let_in(there.headers["location"], subject))

    def name(self):
        answer = self.open("/v1/whoami")
        return answer.json()["name"] if answer.status_code == 200 else None


@pytest.fixture
def company(fresh, provider, tmp_path):
    """A platform that speaks TLS, with people of the provider, and a clock that can be set."""
    (tmp_path / "secret").write_text("of the client\n")
    (tmp_path / "clock").write_text("+0")
    variables = [f"LD_PRELOAD={LIBRARY}", f"FAKETIME_TIMESTAMP_FILE={tmp_path / 'clock'}", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    platform = fresh("company", prefix=["env", *variables], arguments=["--tls", "--oidc-issuer", provider.issuer, "--oidc-client-id", "decalog", "--oidc-client-secret-file", str(tmp_path / "secret")])
    platform.process, platform.url = platform.launch("--listen", "127.0.0.1:0")
    wait_for(lambda: (platform.data / "tls/ca.pem").exists(), "the authority")
    platform.home = tmp_path / "home"
    platform.home.mkdir()
    platform.run("deploy", write_model(tmp_path / "churn", constant(1)), "--project", "fraud")
    provider.user("ann-1", email="ann@example.org", email_verified=True)
    platform.run("member", "add", "ann@example.org", "--role", "deployer", "--project", "fraud")
    return platform


def elsewhere(platform, *words, stdin=None, **more):
    """A command of somebody at another machine, who is remembered there."""
    environment = {**os.environ, "HOME": str(platform.home), "XDG_CONFIG_HOME": str(platform.home), "SSL_CERT_FILE": str(platform.data / "tls/ca.pem"), **more}
    environment.pop("DECALOG_URL", None)
    return subprocess.run([BINARY, *map(str, words)], env=environment, input=stdin, capture_output=True, text=True, timeout=60)


def text_of(page):
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", "", page.text, flags=re.S))


def test_a_person_logs_in_with_a_browser(company, provider):
    browser = Browser(company)
    assert "Log in with localhost" in text_of(browser.open("/login"))
    page = browser.log_in(provider, "ann-1")
    assert page.status_code == 200 and "You are logged in" in page.text, page.text
    cookie = page.headers["set-cookie"]
    for part in ["__Host-decalog-", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"]:
        assert part in cookie, cookie
    assert "domain" not in cookie.lower()
    assert browser.name() == "ann@example.org"
    assert "You are ann@example.org" in text_of(browser.open("/login"))
    # By her own role, and no other.
    assert browser.open("/v1/projects/fraud/models/churn").status_code == 200
    assert browser.open("/v1/keys").status_code == 403
    out = browser.submit("/logout")
    assert out.status_code == 200 and "logged out" in out.text
    kept = {"Cookie": cookie.split(";")[0]}
    assert requests.get(f"{company.url}/v1/whoami", headers=kept, verify=browser.verify).status_code == 401, "the session has ended, not only its cookie"
    kinds = [event["kind"] for event in company.run("events", "--json").json()["events"]]
    assert kinds.count("token_created") == 1 and kinds[-1] == "token_revoked", kinds


def test_a_session_is_for_pages_of_this_server_alone(company, provider):
    browser = Browser(company)
    browser.log_in(provider, "ann-1")
    url = f"{company.url}/v1/projects/fraud/environments/production/variables/LEVEL"

    def put(**headers):
        return browser.put(url, json={"value": "1"}, headers=headers).status_code

    assert put() == 403, "a browser names the origin of what may change something"
    for origin in ["null", "https://evil.example", company.url.replace("https", "http"), "https://localhost:1", company.url + "0"]:
        assert put(Origin=origin) == 403, origin
    assert put(Origin=company.url, **{"Sec-Fetch-Site": "cross-site"}) == 403
    assert put(Origin=company.url, **{"Sec-Fetch-Site": "same-site"}) == 403
    assert put(Origin=company.url, **{"Sec-Fetch-Site": "same-origin"}) == 200
    # A prediction with her rights is not for other pages either.
    ask = f"{company.url}/v1/models/fraud/churn/predict"
    assert browser.post(ask, json={"x": 1}).status_code == 403
    assert browser.post(ask, json={"x": 1}, headers={"Origin": "http://localhost:3000"}).status_code == 403
    assert browser.post(ask, json={"x": 1}, headers={"Origin": company.url}).json() == {"output": 1}
    # What is in the cookie is no token, and a token is no session.
    session = next(cookie for cookie in browser.cookies if cookie.name.startswith("__Host-decalog"))
    bare = {"verify": browser.verify}
    assert requests.get(f"{company.url}/v1/whoami", headers={"Authorization": f"Bearer {session.value}"}, **bare).status_code == 401
    token = company.owners_token()
    for cookie in [f"{session.name}={token}", f"{session.name}={session.value}; {session.name}={session.value}", f"__Host-decalog-1={session.value}", f"{session.name}=", "=;;"]:
        assert requests.get(f"{company.url}/v1/whoami", headers={"Cookie": cookie}, **bare).status_code == 401, cookie
    assert requests.get(f"{company.url}/v1/whoami", headers={"Cookie": f"a=b; {session.name}={session.value}"}, **bare).status_code == 200
    # One that is over is nobody's, and does not keep its browser from logging in again.
    company.run("member", "rm", "ann@example.org")
    assert browser.name() is None and browser.open("/login").status_code == 200


def test_every_page_is_closed_to_others(company):
    for path in ["/", "/login", "/login?code=BCDF-GHJK", "/login/link?key=1", "/login/callback", "/nothing", "/openapi.json", "/v1/whoami"]:
        answer = requests.get(company.url + path, verify=str(company.data / "tls/ca.pem"))
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy, path
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin" and answer.headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers


def test_what_a_page_shows_is_text(company, provider):
    for path in ["/login?code=<script>alert(1)</script>", "/login/callback?error=<b>x</b>&state=1", "/login/link?key=<b>"]:
        assert "<script>alert" not in Browser(company).open(path).text and "<b>x" not in Browser(company).open(path).text
    company.run("member", "add", "o & <i>", "--role", "viewer", ok=False)
    browser = Browser(company)
    back = browser.open("/login/start?code=a%22%3E%3Cb%3E")
    page = browser.open(provider.let_in(back.headers["location"], "ann-1"))
    assert 'url=/login?code=ab"' in page.text and "<b>" not in page.text


def test_a_login_ends_where_it_began(company, provider):
    mine, other = Browser(company), Browser(company)
    began, theirs = mine.open("/login/start"), other.open("/login/start")
    back = provider.let_in(theirs.headers["location"], "ann-1")
    page = mine.open(back)
    assert page.status_code == 400 and "another login" in page.text and mine.name() is None, "or somebody acts as whoever sent the link"
    assert Browser(company).open(back).status_code == 400
    page = other.open(back)
    assert page.status_code == 200 and other.name() == "ann@example.org"
    assert other.open(back).status_code == 400, "once"
    for query in ["", "?code=x", "?state=x&code=y", "?error=access_denied", f"?state={'x' * 5000}&code=z"]:
        page = mine.open("/login/callback" + query)
        assert page.status_code in (400, 401) and "Begin again" in page.text, page.text
    denied = requests.post(began.headers["location"], data={"action": "deny"}, allow_redirects=False)
    page = Browser(company).open(denied.headers["location"])
    assert page.status_code == 400
    asked = parse_qs(urlsplit(began.headers["location"]).query)
    assert asked["redirect_uri"] == [f"{company.url}/login/callback"] and asked["code_challenge_method"] == ["S256"] and asked["nonce"] and asked["state"]


def test_who_the_provider_means(company, provider):
    """A name is one account's there; whoever has no role is nobody here, and groups count."""
    browser = Browser(company)
    assert browser.log_in(provider, "ann-1").status_code == 200
    provider.user("ann-2", email="ann@example.org", email_verified=True)
    page = Browser(company).log_in(provider, "ann-2")
    assert page.status_code == 403 and "somebody else" in page.text, "another account with her address"
    provider.user("eve", email="bob@example.org", email_verified=False)
    company.run("member", "add", "bob@example.org", "--role", "owner")
    assert Browser(company).log_in(provider, "eve").status_code in (401, 502), "an address that nobody has verified"
    provider.user("stranger", email="stranger@example.org", email_verified=True)
    page = Browser(company).log_in(provider, "stranger")
    assert page.status_code == 403 and "no role" in page.text
    listed = company.run("member", "ls", "--json").json()["members"]
    assert "stranger@example.org" not in [member["name"] for member in listed], "who may nothing leaves nothing"
    assert "without @" in company.run("member", "add", "shop@example.org", "--service", "--role", "viewer", ok=False).err, "a program takes no person's name"
    # What reads like a name, or was one, is not it.
    company.run("member", "add", "Owner@example.org", "--role", "owner")
    for number, alike in enumerate(["ｏwner@example.org", "owner@ｅxample.org", "owneｒ@example.org"]):
        provider.user(f"alike-{number}", email=alike, email_verified=True)
        assert Browser(company).log_in(provider, f"alike-{number}").status_code in (400, 403), alike
    provider.user("o'brien", email="o'brien@example.org", email_verified=True)
    company.run("member", "add", "o'brien@example.org", "--role", "viewer")
    assert Browser(company).log_in(provider, "o'brien").status_code == 200
    company.run("member", "rm", "Owner@example.org")
    company.run("member", "add", "owner@example.org", "--role", "viewer")
    provider.user("owner", email="OWNER@example.org", email_verified=True)
    for _ in range(6):
        assert Browser(company).log_in(provider, "owner").status_code == 200, "case is no difference, and who is gone does not count"
    # Renamed at the provider: the same somebody.
    before = browser.open("/v1/whoami").json()["principal"]
    provider.user("ann-1", email="ann.smith@example.org", email_verified=True)
    again = Browser(company)
    assert again.log_in(provider, "ann-1").status_code == 200
    assert (again.name(), again.open("/v1/whoami").json()["principal"]) == ("ann.smith@example.org", before)


def test_groups_of_the_provider(company, provider):
    company.run("member", "add", "ml-team", "--group", "--role", "operator", "--project", "fraud")
    provider.user("carl", email="carl@example.org", email_verified=True, groups=["ml-team", "all"])
    browser = Browser(company)
    assert browser.log_in(provider, "carl").status_code == 200
    grants = browser.open("/v1/whoami").json()["grants"]
    assert [grant["role"] for grant in grants] == ["operator"], grants
    # A role of a group that comes later counts at once, …
    company.run("member", "add", "all", "--group", "--role", "viewer", "--project", "other")
    assert len(browser.open("/v1/whoami").json()["grants"]) == 2
    # … and who leaves a group has its rights until the next login.
    provider.user("carl", email="carl@example.org", email_verified=True, groups=["all"])
    assert Browser(company).log_in(provider, "carl").status_code == 200
    assert [grant["role"] for grant in browser.open("/v1/whoami").json()["grants"]] == ["viewer"]
    provider.user("carl", email="carl@example.org", email_verified=True, groups=[])
    assert Browser(company).log_in(provider, "carl").status_code == 403
    assert browser.open("/v1/whoami").json()["grants"] == []


def test_groups_that_the_provider_has_not_confirmed_for_a_month(company, provider, tmp_path):
    company.run("member", "add", "ml-team", "--group", "--role", "operator", "--project", "fraud")
    provider.user("dora", email="dora@example.org", email_verified=True, groups=["ml-team"])
    assert Browser(company).log_in(provider, "dora").status_code == 200

    def changes():
        events = company.run("events", "--json").json()["events"]
        return [event["body"]["groups"] for event in events if event["kind"] == "groups_changed"]

    for days, wanted in [("+29d", [["ml-team"]]), ("+31d", [["ml-team"], []])]:
        company.stop()
        (tmp_path / "clock").write_text(days)
        company.process, company.url = company.launch("--listen", "127.0.0.1:0")
        company.run("env", "set", "LEVEL=1", "--project", "fraud")
        wait_for(lambda: changes() == wanted, f"{wanted} after {days}")
    assert "no: " in company.run("can", "dora@example.org", "rollback", "fraud/churn", ok=False).out


def begin(platform, *words):
    """`decalog login` as it waits; gives the process and the code."""
    environment = {**os.environ, "HOME": str(platform.home), "XDG_CONFIG_HOME": str(platform.home), "SSL_CERT_FILE": str(platform.data / "tls/ca.pem")}
    process = subprocess.Popen([BINARY, "login", platform.url, *words], env=environment, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    return process, re.search(r"login\?code=([A-Z]{4}-[A-Z]{4})", line).group(1)


def test_a_terminal_logs_in_by_a_browser_elsewhere(company, provider):
    """As over SSH: nothing listens there, a code is compared, and the command polls."""
    process, code = begin(company)
    browser = Browser(company)
    page = browser.open(f"/login?code={code}")
    assert "Log in with" in text_of(page) and code not in text_of(page)
    page = browser.log_in(provider, "ann-1", f"/login/start?code={code}")
    assert f"/login?code={code}" in page.text
    page = browser.open(f"/login?code={code.lower().replace('-', ' ')}")
    assert code in text_of(page) and "for you, ann@example.org" in text_of(page)
    assert browser.post(f"{company.url}/login/device", data={"code": code, "answer": "allow"}).status_code == 403, "not without Origin"
    assert process.poll() is None
    assert "Done" in browser.submit("/login/device", code=code, answer="allow").text
    assert process.wait(30) == 0, process.stderr.read()
    assert "as ann@example.org" in process.stderr.read()
    done = elsewhere(company, "whoami", "--json")
    assert json.loads(done.stdout)["name"] == "ann@example.org", done
    tokens = company.run("token", "ls", "--json").json()["tokens"]
    assert sorted(token["origin"] for token in tokens) == ["login", "session"]
    assert all(token["expires_ms"] - token["issued_ms"] <= 12 * 3_600_000 for token in tokens)
    # The end of the login is the end of its token.
    secret = re.search(r'token = "(.*?)"', (company.home / "decalog/servers.toml").read_text()).group(1)
    assert "logged out" in elsewhere(company, "logout").stderr
    answer = requests.get(f"{company.url}/v1/whoami", headers={"Authorization": f"Bearer {secret}"}, verify=browser.verify)
    assert answer.status_code == 401
    assert browser.submit("/login/device", code=code, answer="allow").status_code == 400, "a code is good once"


def test_a_terminal_that_is_not_mine(company, provider):
    process, code = begin(company)
    browser = Browser(company)
    browser.log_in(provider, "ann-1")
    browser.submit("/login/device", code=code, answer="deny")
    assert process.wait(30) == 1 and "not theirs" in process.stderr.read()
    assert requests.post(f"{company.url}/login/device", data={"code": code, "answer": "allow"}, headers={"Origin": company.url}, verify=browser.verify).status_code == 401
    poll = {"json": {"device_code": "guess"}, "verify": browser.verify}
    assert requests.post(f"{company.url}/v1/login/devices/poll", **poll).json()["code"] == "login_over"
    # Nobody fills the table for all others.
    begun = [requests.post(f"{company.url}/v1/login/devices", json={}, verify=browser.verify) for _ in range(70)]
    assert begun[0].status_code == 200 and begun[-1].status_code == 503 and begun[-1].json()["code"] == "server_busy"


def test_who_the_session_belongs_to_is_who_the_terminal_acts_for_now(company, provider):
    """Between the answer in the browser and the question of the terminal she loses everything."""
    started = requests.post(f"{company.url}/v1/login/devices", json={}, verify=str(company.data / "tls/ca.pem")).json()
    browser = Browser(company)
    browser.log_in(provider, "ann-1")
    assert "Done" in browser.submit("/login/device", code=started["user_code"], answer="allow").text
    company.run("member", "rm", "ann@example.org")
    polled = requests.post(f"{company.url}/v1/login/devices/poll", json={"device_code": started["device_code"]}, verify=browser.verify)
    assert polled.status_code == 401, polled.text


def follow(browser, link):
    """What somebody does with a link: opens it, and says that it is theirs."""
    browser.get(link)
    return browser.submit("/login/link", key=link.split("=")[1])


def test_a_link_opens_a_session_once(company):
    link = company.run("dashboard", "--print").out.strip()
    assert link.startswith(company.url + "/login/link?key=")
    browser = Browser(company)
    for _ in range(2):
        assert "will act as owner (local)" in browser.get(link).text and browser.name() is None, "whoever looks at links opens nothing"
    form = {"data": {"key": link.split("=")[1]}, "verify": browser.verify}
    for headers in [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": company.url, "Sec-Fetch-Site": "cross-site"}]:
        assert requests.post(f"{company.url}/login/link", headers=headers, **form).status_code == 403, "a page that sends a browser there"
    assert follow(browser, link).status_code == 200
    assert browser.name() == "owner (local)"
    assert Browser(company).get(link).status_code == 400 and follow(Browser(company), link).status_code == 400, "once"
    # Of a person: no more than the token that asked for it, and no longer.
    made = company.run("token", "create", "ann@example.org", "--scope", "read", "--expires", "1h", "--json").json()
    anns = company.run("dashboard", "--print", env={"DECALOG_TOKEN": made["secret"], "SSL_CERT_FILE": str(company.data / "tls/ca.pem")}).out.strip()
    browser = Browser(company)
    assert follow(browser, anns).status_code == 200 and browser.name() == "ann@example.org"
    who = browser.open("/v1/whoami").json()
    assert who["scopes"] == ["read"]
    session = next(token for token in company.run("token", "ls", "--json").json()["tokens"] if token["id"] == who["token"])
    assert session["expires_ms"] == made["expires_ms"]
    # Programs have none.
    shop = company.run("token", "create", "shop", "--predict", "fraud/churn").out.strip()
    refused = company.run("dashboard", "--print", env={"DECALOG_TOKEN": shop, "SSL_CERT_FILE": str(company.data / "tls/ca.pem")}, ok=False)
    assert refused.code == 1 and "only people" in refused.err, refused


class Issuer(BaseHTTPRequestHandler):
    """A platform that signs tokens for its jobs, with its keys where GitHub has them."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        answers = {
            "/.well-known/openid-configuration": {"issuer": server.url, "jwks_uri": server.url + "/jwks", "id_token_signing_alg_values_supported": ["RS256"]},
            "/jwks": {"keys": [server.key.as_dict(private=False)]},
        }
        found = answers.get(self.path)
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def issuer():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    server.url, server.asked = f"http://127.0.0.1:{server.server_port}", []
    server.key = jwk.RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def signed(issuer, audience, key=None, **claims):
    now = int(time.time())
    body = {"iss": issuer.url, "aud": audience, "iat": now, "nbf": now, "exp": now + 300, "jti": os.urandom(8).hex(), **GITHUB, **claims}
    return jwt.encode({"alg": "RS256", "kid": "one"}, {name: value for name, value in body.items() if value is not None}, key or issuer.key)


def test_a_job_without_a_secret(company, issuer, tmp_path):
    company.run("member", "add", "deploy-fraud", "--job", "--issuer", issuer.url, "--claim", "repository_id=4711", "--claim", "environment=production", "--role", "deployer", "--project", "fraud")
    token = signed(issuer, company.url)
    done = elsewhere(company, "login", company.url, "--id-token", "-", stdin=token)
    assert done.returncode == 0 and "as deploy-fraud (job)" in done.stderr, done
    who = json.loads(elsewhere(company, "whoami", "--json").stdout)
    assert who["principal"].startswith("job:")
    deployed = elsewhere(company, "deploy", write_model(tmp_path / "more" / "churn", constant(2)), "--project", "fraud")
    assert deployed.returncode == 0, deployed
    assert "deploy-fraud (job)" in company.run("events").out
    mine = next(token for token in company.run("token", "ls", "--json").json()["tokens"] if token["principal"] == who["principal"])
    assert mine["origin"] == "exchange" and mine["expires_ms"] - mine["issued_ms"] <= 3_600_000
    elsewhere(company, "logout")

    def exchanged(token, **form):
        body = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "subject_token": token, **form}
        return requests.post(f"{company.url}/v1/login/exchange", data=body, verify=str(company.data / "tls/ca.pem"))

    good = exchanged(token)
    assert good.status_code == 200 and good.json()["access_token"].startswith("dcj_") and good.json()["token_type"] == "Bearer", good.text
    foreign = jwk.RSAKey.generate_key(2048, {"kid": "one"})
    for why, bad in {
        "another audience": signed(issuer, "https://other.example.org"),
        "our address in clear": signed(issuer, company.url.replace("https", "http")),
        "another repository of the same name": signed(issuer, company.url, repository_id="4712"),
        "a pull request": signed(issuer, company.url, environment=None, ref="refs/pull/1/merge"),
        "a longer id": signed(issuer, company.url, repository_id="47110"),
        "over": signed(issuer, company.url, exp=int(time.time()) - 300),
        "not yet": signed(issuer, company.url, nbf=int(time.time()) + 300),
        "another key": signed(issuer, company.url, foreign),
        "another port of this host": signed(issuer, "https://127.0.0.1:1"),
        "another issuer": signed(issuer, company.url, iss="https://token.actions.githubusercontent.com"),
        "no text": "no.token.at all",
        "none": "eyJhbGciOiJub25lIn0." + token.split(".")[1] + ".",
        "nothing": "",
    }.items():
        answer = exchanged(bad)
        assert answer.status_code in (400, 401), (why, answer.text)
        assert bad == "" or bad not in answer.text
    assert exchanged(token, grant_type="password").status_code == 400
    # The audience is an address of this server, whatever the request says.
    body = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "subject_token": signed(issuer, "https://127.0.0.1:1")}
    answer = requests.post(f"{company.url}/v1/login/exchange", data=body, headers={"Host": "127.0.0.1:1"}, verify=str(company.data / "tls/ca.pem"))
    assert answer.status_code == 403 and answer.json()["code"] == "foreign_host", answer.text
    asked = len(issuer.asked)
    assert exchanged(signed(issuer, company.url, iss=issuer.url + "/other")).status_code == 401
    assert len(issuer.asked) == asked, "nobody makes this server ask an issuer that no job is of"
    company.run("member", "rm", "deploy-fraud")
    assert requests.get(f"{company.url}/v1/whoami", headers={"Authorization": f"Bearer {good.json()['access_token']}"}, verify=str(company.data / "tls/ca.pem")).status_code == 401
    assert exchanged(signed(issuer, company.url)).status_code == 401


def test_a_workflow_gets_its_token_by_itself(company, issuer):
    """As GitHub's runner gives it: an address with a bearer, and the audience in the query."""

    class Runner(BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.headers["authorization"] == "Bearer runner"
            audience = parse_qs(urlsplit(self.path).query)["audience"][0]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"value": signed(issuer, audience)}).encode())

        def log_message(self, *arguments):
            pass

    runner = ThreadingHTTPServer(("127.0.0.1", 0), Runner)
    threading.Thread(target=runner.serve_forever, daemon=True).start()
    try:
        company.run("member", "add", "ci", "--job", "--issuer", issuer.url, "--claim", "repository_id=4711", "--role", "viewer", "--project", "fraud")
        variables = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{runner.server_port}/token?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner"}
        done = elsewhere(company, "login", company.url, "--github", **variables)
        assert done.returncode == 0 and "as ci (job)" in done.stderr, done
        missing = elsewhere(company, "login", company.url, "--github")
        assert missing.returncode == 1 and "id-token: write" in missing.stderr
    finally:
        runner.shutdown()
        runner.server_close()


def test_jobs_are_known_by_what_stays_theirs(company):
    def add(*words, name="ci"):
        return company.run("member", "add", name, "--role", "viewer", *words, ok=False)

    github = ["--issuer", "https://token.actions.githubusercontent.com"]
    for words, why in [
        (["--job"], "1 to"),
        (["--job", *github], "1 to"),
        (["--job", *github, "--claim", "repository=acme/fraud"], "become somebody else's"),
        (["--job", *github, "--claim", "ref=refs/heads/main"], "everybody"),
        (["--job", "--issuer", "http://ci.example.org", "--claim", "project_id=1"], "https://"),
        (["--job", *github, "--claim", "repository_id"], "NAME=VALUE"),
        (["--certificate", "*.example.org"], "dns:HOST"),
        (["--certificate", "dns:*.example.org"], "wildcards"),
    ]:
        failed = add(*words)
        assert failed.code == 1 and why in failed.err, failed
    good = ["--job", *github, "--claim", "repository_id=4711"]
    assert add(*good).code == 0
    assert add("--job", *github, "--claim", "repository_id=4712").code == 1, "it is known by another"
    twice = add(*good, name="other")
    assert twice.code == 1 and "somebody else" in twice.err, "or nobody knows who was it"
    assert "repository_id=4711" in company.run("member", "ls").out
    # By the API, where nobody has checked before.
    for body in [{"kind": "job"}, {"kind": "person", "credential": {"certificate": "dns:a.example"}}, {"kind": "job", "credential": {"job_token": {"issuer": "https://x", "claims": {"actor": "a", "sub": "x"}}}}]:
        answer = company.request("POST", "/v1/members", {"name": "other", "role": "viewer", **body})
        assert answer.status == 400, answer
    assert len(company.run("member", "ls", "--json").json()["members"]) == 2


def test_a_certificate_stands_for_somebody(fresh, tmp_path):
    """By a name in it that somebody gave a role: not by its common name, and not when it has names of two."""
    authority = Authority(tmp_path / "authority")
    platform = fresh("edge", arguments=["--tls", "--tls-client-ca", str(authority.certificate)])
    platform.process, platform.url = platform.launch("--listen", "127.0.0.1:0")
    platform.run("deploy", write_model(tmp_path / "churn", constant(1)), "--project", "fraud")
    platform.run("auth", "require")
    platform.run("member", "add", "edge-7", "--certificate", "uri:spiffe://example.org/edge-7", "--role", "viewer", "--project", "fraud")
    platform.run("member", "add", "edge-8", "--certificate", "dns:Edge-8.example.org", "--role", "viewer", "--project", "other")

    def pair(name, *names):
        key, request, made, extensions = (tmp_path / f"{name}.{kind}" for kind in ["key", "csr", "pem", "ext"])
        extensions.write_text("extendedKeyUsage=clientAuth\n" + (f"subjectAltName={','.join(names)}\n" if names else ""))
        for words in [
            ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request],
            ["x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.directory / "ca.key", "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", made],
        ]:
            subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
        session = requests.Session()
        session.trust_env = False
        session.cert, session.verify = (str(made), str(key)), str(platform.data / "tls/ca.pem")
        return session

    def who(session):
        answer = session.get(f"{platform.url}/v1/whoami")
        return answer.json().get("name") or answer.json()["code"]

    seven = pair("seven", "URI:spiffe://example.org/edge-7", "DNS:whatever.example")
    assert who(seven) == "edge-7 (certificate)"
    ask = f"{platform.url}/v1/models/fraud/churn/predict"
    assert seven.post(ask, json={"x": 1}).json() == {"output": 1}
    assert seven.put(f"{platform.url}/v1/projects/fraud/environments/production/variables/LEVEL", json={"value": "1"}).status_code == 403
    eight = pair("eight", "DNS:EDGE-8.example.org")
    assert who(eight) == "edge-8 (certificate)" and eight.post(ask, json={"x": 1}).status_code == 404
    assert who(pair("both", "URI:spiffe://example.org/edge-7", "DNS:edge-8.example.org")) == "unauthenticated"
    for name, names in {"edge-7": [], "spiffe://example.org/edge-7": [], "near": ["URI:spiffe://example.org/edge-77"], "mail": ["email:edge-8.example.org"]}.items():
        assert who(pair(name.replace("/", "_"), *names)) == "unauthenticated", name
    # A token says who it is, whatever the certificate says.
    token = platform.owners_token()
    assert seven.get(f"{platform.url}/v1/whoami", headers={"Authorization": f"Bearer {token}"}).json()["name"] == "tester"
    # Looked up at each request: connections outlive rights.
    platform.run("member", "rm", "edge-7")
    assert who(seven) == "unauthenticated" and seven.post(ask, json={"x": 1}).status_code == 401
    platform.takeover()
    assert who(eight) == "edge-8 (certificate)" and who(seven) == "unauthenticated"


def clicked(browser, text):
    """Clicks what has this text and waits for another page; gives what that says."""
    browser.run("window.here = true")
    found = browser.run(f"(() => {{ const it = [...document.querySelectorAll('a, button')].find(it => it.textContent.includes({json.dumps(text)})); it?.click(); return !!it }})()")
    assert found, browser.run("document.body.innerText")
    wait_for(lambda: browser.run("document.readyState === 'complete' && !window.here"), "the next page")
    return said(browser)


def said(browser):
    """What a page says, once it goes nowhere else by itself."""
    wait_for(lambda: browser.run("document.readyState === 'complete' && !document.querySelector('meta[http-equiv]')"), "the page")
    return browser.run("document.body?.innerText ?? ''")


@pytest.fixture
def chromium(tmp_path):
    browser = Chromium(tmp_path / "chromium", [], "--ignore-certificate-errors")
    yield browser
    browser.close()


def test_a_real_browser_is_logged_in_by_a_link(platform, chromium):
    """In clear on this machine: what is in the cookie is for this port alone, for no script, and for forms of this server."""
    link = platform.run("dashboard", "--print").out.strip()
    chromium.visit(link)
    assert "act as owner (local)" in said(chromium)
    clicked(chromium, "Go on")
    wait_for(lambda: chromium.run("location.pathname") == "/", "the dashboard of whoever is logged in")
    wait_for(lambda: "owner (local)" in said(chromium), "their name in it")
    chromium.visit(f"{link.split('/login')[0]}/login")
    assert "You are owner (local)" in said(chromium)
    assert chromium.run("document.cookie") == ""
    port, name = platform.url.rsplit(":", 1)[1], urlsplit(link).hostname
    assert re.fullmatch(r"d[0-9a-f]{16}\.localhost", name)
    cookies = chromium.call("Network.getCookies", urls=[link])["cookies"]
    assert [(cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [(f"__Host-decalog-{port}", True, True, "Lax")]
    assert chromium.run("getComputedStyle(document.querySelector('button')).backgroundColor") == "rgb(29, 78, 216)", "the policy lets the page's own style in"
    # Others at this machine get nothing of it, at whatever port.
    seen = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("cookie"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    other = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    for host in ["127.0.0.1", "localhost", "other.localhost"]:
        chromium.visit(f"http://{host}:{other.server_port}/")
    other.shutdown()
    other.server_close()
    assert len(seen) >= 3 and set(seen) == {None}, seen
    chromium.visit(f"http://{name}:{port}/login")
    assert "You are logged out" in clicked(chromium, "Log out")
    chromium.visit(f"http://{name}:{port}/login")
    assert "Log in to Decalog" in said(chromium)


def test_a_real_browser_logs_a_terminal_in(company, provider, chromium):
    process, code = begin(company)
    chromium.call("Page.navigate", url=f"{company.url}/login?code={code}")
    wait_for(lambda: "Log in with" in chromium.run("document.body?.innerText ?? ''"), "the page")
    clicked(chromium, "Log in with")
    assert chromium.run("location.href").startswith(provider.issuer), chromium.run("location.href")
    chromium.run("window.here = true; document.querySelector('input[name=sub]').value = 'ann-1'; document.querySelector('form').requestSubmit(document.querySelector('form button:not([value=deny])')); 0")
    wait_for(lambda: f"code={code}" in chromium.run("location.href") and chromium.run("location.href").startswith(company.url), "the way back")
    text = said(chromium)
    assert code in text and "for you, ann@example.org" in text, text
    assert "Done" in clicked(chromium, "It is mine")
    assert process.wait(30) == 0 and "as ann@example.org" in process.stderr.read()


def test_what_is_passed_on_ends_with_what_it_came_from(company):
    """A session from a link ends with the token that asked for it, counts for its limits, and takes no place of other tokens."""
    trusting = {"verify": str(company.data / "tls/ca.pem")}

    def made(*words):
        return company.run("token", "create", "ann@example.org", "--scope", "read", *words, "--json").json()

    def session(secret):
        answer = requests.post(f"{company.url}/v1/login/links", headers={"Authorization": f"Bearer {secret}"}, **trusting)
        assert answer.status_code == 200, answer.text
        browser = Browser(company)
        assert follow(browser, company.url + answer.json()["path"]).status_code == 200
        return browser

    first, second = made(), made()
    for secret, end in [(first["secret"], ["revoke", first["id"]]), (second["secret"], ["rotate", second["id"], "--overlap", "1h"])]:
        browser = session(secret)
        assert browser.name() == "ann@example.org"
        company.run("token", *end)
        assert browser.name() is None, end
    limited = made("--rate", "20/d", "--burst", "6")
    browsers = [session(limited["secret"]) for _ in range(3)]
    statuses = [browser.open("/v1/whoami").status_code for browser in browsers for _ in range(6)]
    assert statuses.count(200) <= 6 and 429 in statuses, statuses
    # Logging in and out again and again leaves nothing but entries, and has a limit.
    third = made()
    before = len(company.run("token", "ls", "--json").json()["tokens"])
    answers = []
    for _ in range(70):
        answer = requests.post(f"{company.url}/v1/login/links", headers={"Authorization": f"Bearer {third['secret']}"}, **trusting)
        opened = Browser(company).submit("/login/link", key=answer.json()["path"].split("=")[1])
        answers.append(opened.status_code)
    assert 429 in answers, answers
    assert len(company.run("token", "ls", "--json").json()["tokens"]) - before <= 64
    assert made()["secret"], "and it stands in the way of no other token"


def test_the_owner_in_a_browser_is_nobody_else(company):
    """What the owner makes for others in a browser stands for nobody in particular, as what anybody makes for others."""
    browser = Browser(company)
    follow(browser, company.run("dashboard", "--print").out.strip())
    answer = browser.post(f"{company.url}/v1/tokens", json={"owner": "ann@example.org", "scopes": ["deploy", "read"]}, headers={"Origin": company.url})
    assert answer.status_code == 200 and answer.json()["known_to"] == ["owner (local)"], answer.text
    company.run("member", "add", "bob", "--role", "deployer", "--project", "fraud")
    company.run("env", "protect", "production", "--project", "fraud", "--approvals", "1")
    bob = company.run("token", "create", "bob", "--scope", "deploy", "--scope", "read").out.strip()
    ask = {"verify": browser.verify}
    proposed = requests.put(f"{company.url}/v1/projects/fraud/environments/production/variables/LEVEL", json={"value": "2"}, headers={"Authorization": f"Bearer {bob}"}, **ask)
    assert proposed.status_code == 202, proposed.text
    number = company.run("proposals", "--json").json()["proposals"][0]["id"]
    approved = requests.post(f"{company.url}/v1/proposals/{number}/approvals", headers={"Authorization": f"Bearer {answer.json()['secret']}"}, **ask)
    assert approved.status_code in (403, 409), approved.text


def test_two_accounts_that_come_at_once_are_not_one_person(company, provider):
    from concurrent.futures import ThreadPoolExecutor

    for number in range(8):
        name = f"twin{number}@example.org"
        company.run("member", "add", name, "--role", "viewer")
        browsers = []
        for half in "ab":
            provider.user(f"twin-{number}{half}", email=name, email_verified=True)
            browser = Browser(company)
            there = browser.open("/login/start").headers["location"]
            browsers.append((browser, provider.let_in(there, f"twin-{number}{half}")))
        with ThreadPoolExecutor(2) as pool:
            pages = list(pool.map(lambda pair: pair[0].open(pair[1]).status_code, browsers))
        assert sorted(pages) == [200, 403], (number, pages)


def test_jobs_and_certificates_are_for_who_decides_about_all(company):
    company.run("member", "add", "pam", "--role", "owner", "--project", "other")
    pam = company.run("token", "create", "pam", "--scope", "admin", "--scope", "read").out.strip()
    for body in [{"kind": "job", "credential": {"job_token": {"issuer": "https://ci.example.org", "claims": {"project_id": "1"}}}}, {"kind": "certificate", "credential": {"certificate": "dns:a.example"}}]:
        answer = requests.post(f"{company.url}/v1/members", json={"name": "mine", "role": "viewer", "in": "other", **body}, headers={"Authorization": f"Bearer {pam}"}, verify=str(company.data / "tls/ca.pem"))
        assert answer.status_code in (403, 404), answer.text


def test_a_provider_that_does_not_answer_stops_nobody_else(company, provider):
    """Whoever comes back again and again with codes that are none takes no turn from others."""
    import random

    began = Browser(company)
    location = began.open("/login/start").headers["location"]
    state = parse_qs(urlsplit(location).query)["state"][0]
    done = threading.Event()
    seen = []

    def flood():
        while not done.is_set():
            seen.append(began_copy().open(f"/login/callback?state={state}&code={random.random()}").status_code)

    def began_copy():
        copy = Browser(company)
        copy.cookies.update(began.cookies)
        return copy

    threads = [threading.Thread(target=flood) for _ in range(16)]
    [thread.start() for thread in threads]
    try:
        wait_for(lambda: len(seen) > 16, "the flood")
        # From another address of this machine.
        from requests.adapters import HTTPAdapter

        class From(HTTPAdapter):
            def init_poolmanager(self, *arguments, **more):
                super().init_poolmanager(*arguments, source_address=("127.0.0.2", 0), **more)

        browser = Browser(company)
        browser.mount("https://", From())
        assert browser.log_in(provider, "ann-1").status_code == 200
    finally:
        done.set()
        [thread.join() for thread in threads]
    assert 503 in seen, seen[:20]
