"""Pages of other sites in the browser of somebody who runs a server, and servers that are made to call addresses for somebody."""

import json

from attacks import EVIL, attack, file, nothing_of, refused

PREDICT = "/v1/models/fraud/churn/predict"
INFER = "/v2/models/fraud%2Fchurn/infer"
ROW = b'{"age": 4}'


def no_permission(answer):
    """Fails if a browser would let a page of another origin read it."""
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")], answer.headers
    return answer


@attack("CVE-2025-62593", "rebinding", "Ray", "2.52.0", "a page rebound its name to 127.0.0.1 and sent jobs; the User-Agent that should give it away can be set")
def rebinding_with_another_user_agent(site):
    """The name in Host decides, not what the caller says it is: under a foreign name nothing answers, even with a token."""
    assert site.ask("POST", PREDICT, ROW, Host=f"localhost:{site.port}").status == 200
    for agent in ("curl/8.5", "python-requests/2.32", "decalog/0.1.0", "other", ""):
        for method, path in (("POST", PREDICT), ("POST", "/v1/blobs/missing"), ("GET", "/v1/models"), ("GET", "/healthz")):
            answer = site.ask(method, path, ROW if method == "POST" else None, "owner", Host="evil.example", User_Agent=agent)
            assert json.loads(refused(no_permission(answer), 403).body)["code"] == "foreign_host"


@attack("CVE-2025-14279", "rebinding", "MLflow", "3.5.0", "the Host header was not looked at")
def names_that_look_like_this_machine(site):
    """A name counts as a whole: neither a name that begins or ends like this machine's, nor user names, lists or a second Host get through."""
    for host in (f"127.0.0.1.evil.example:{site.port}", "localhost.evil.example", f"evil.example:{site.port}", "evil-localhost", "localhost@evil.example",
                 "evil.example@localhost", "127.0.0.1, evil.example", "0.0.0.0", "[::ffff:127.0.0.1]", "localhost.", "127.1", "2130706433", ""):
        assert site.get("/v1/models", host=host).status in (400, 403), host
    refused(site.get("/v1/models", "Host: evil.example"), 400, 403)
    refused(site.get("http://evil.example/v1/models"), 400, 403)


@attack("CVE-2024-28224", "rebinding", "Ollama", "0.1.29", "a page rebound its name and had the whole API")
def asking_a_model_under_a_foreign_name(site):
    """The routes of models have the same check as those that manage."""
    for path in (PREDICT, INFER, "/v2", "/v2/health/ready", "/v2/models/fraud%2Fchurn", "/metrics", "/openapi.json"):
        answer = site.ask("POST" if path in (PREDICT, INFER) else "GET", path, ROW if path in (PREDICT, INFER) else None, Host="evil.example")
        nothing_of(refused(answer, 403), b"FP64", b"output")


@attack("CVE-2026-27482", "request forgery", "Ray", "2.54.0", "POST and PUT of pages were refused, DELETE was forgotten")
def every_method_from_a_foreign_page(site):
    """A request that names another origin is refused before its method or its token is looked at."""
    for method, path in site.operations():
        body = b"{}" if method in ("POST", "PUT", "PATCH") else None
        refused(no_permission(site.ask(method, path, body, "owner", Origin=EVIL)), 403)
        if path.startswith("/v1/"):
            refused(no_permission(site.ask(method, path, body, "owner", Sec_Fetch_Site="cross-site")), 403)
            refused(no_permission(site.ask(method, path, body, "owner", Origin=f"http://127.0.0.1:{site.port + 1}")), 403)
    removal = "/v1/projects/fraud/models/nobody"
    assert site.ask("DELETE", removal, who="owner").status == 404, "what is not from a page is looked at"
    assert site.ask("DELETE", removal, who="owner", Origin=site.platform.url).status == 404


@attack("CVE-2024-1727", "request forgery", "Gradio", "4.19.2", "a form on any page uploaded files to a local server")
def a_form_that_uploads(site):
    """What a form can send is refused by where it comes from, and a form is read as nothing but a model's columns."""
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="model.py"\r\n\r\nx\r\n--x--\r\n'
    kind = "multipart/form-data; boundary=x"
    for path in ("/upload", "/v1/blobs/missing", "/v1/projects/fraud/models/churn/versions", PREDICT):
        refused(site.ask("POST", path, form, "owner", Content_Type=kind, Origin=EVIL), 403)
        refused(site.ask("POST", path, form, "owner", Content_Type=kind), 400, 404, 422)


@attack("CVE-2024-47084", "request forgery", "Gradio", "4.44.0", "the origin was not checked when a cookie came with the request")
def a_foreign_page_with_cookies(site):
    """A cookie changes nothing, and no answer permits another origin to read it."""
    for cookie in ("access-token=x", "decalog=x", f"decalog-cookie={'0' * 64}", f"token={site.tokens['owner']}"):
        for path in ("/v1/models", "/v1/whoami", "/v2/models/fraud%2Fchurn"):
            refused(no_permission(site.ask("GET", path, Cookie=cookie, Origin=EVIL)), 403)
        refused(site.ask("GET", "/v1/whoami", Cookie=cookie), 401)
    assert no_permission(site.ask("GET", "/v1/whoami", who="owner")).status == 200


@attack("CVE-2025-5320", "request forgery", "Gradio", "unknown", "`null` and other aliases passed as origins of this machine")
def origins_that_are_nobodys(site):
    """`null`, files, and names that begin like this machine's are foreign to models as well; a page of this machine may ask models and manage nothing."""
    for origin in ("null", "file://", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://localhost@evil.example", "//localhost",
                   "chrome-extension://abc", "http://evil.example#localhost", "http://evil.example\\@localhost", "localhost", "http://", "*"):
        for method, path in (("POST", PREDICT), ("POST", INFER), ("GET", "/v1/models"), ("GET", "/v2")):
            refused(no_permission(site.ask(method, path, ROW if method == "POST" else None, "owner", Origin=origin)), 403)
    here = f"http://localhost:{site.port + 1}"
    assert no_permission(site.ask("POST", PREDICT, ROW, Origin=here)).status == 200
    refused(site.ask("GET", "/v1/models", who="owner", Origin=here), 403)


@attack("CVE-2023-43472", "request forgery", "MLflow", "2.9.0", "a page sent JSON as text/plain, for which browsers do not ask first")
def json_that_says_it_is_text(site):
    """What browsers send without asking is refused by its origin; when they do ask first, they are told nothing."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        refused(no_permission(site.ask("POST", PREDICT, ROW, Content_Type=kind, Origin=EVIL)), 403)
        refused(no_permission(site.ask("POST", "/v1/tokens", {"scopes": ["read"]}, "owner", Content_Type=kind, Origin=EVIL)), 403)
    for path in (PREDICT, "/v1/tokens", "/v1/projects/fraud/models/churn"):
        asked = site.ask("OPTIONS", path, Origin=EVIL, Access_Control_Request_Method="DELETE", Access_Control_Request_Headers="authorization")
        refused(no_permission(asked), 403)
        local = site.ask("OPTIONS", path, Origin=f"http://localhost:{site.port + 1}", Access_Control_Request_Method="DELETE")
        refused(no_permission(local))


# ---- Addresses ------------------------------------------------------------------------------------


@attack("CVE-2023-43654", "server-side request", "TorchServe", "0.8.2", "a model could be registered from any address")
def a_model_from_an_address(site):
    """A version is made of uploaded files; no field takes an address, and one in the place of a path is a path."""
    url = site.canary.url
    for query in (f"?url={url}&initial_workers=1", f"?source={url}"):
        refused(site.ask("POST", f"/models{query}", b"", "owner"), 404)
    for body in ({"url": url}, {"tree": url, "runtime": "python", "file": "model.py"}, {"tree": [file("model.py")], "runtime": "python", "file": url},
                 {"tree": [file(url)], "runtime": "python", "file": url}, {"tree": [file("model.py", url)], "runtime": "python", "file": "model.py"}):
        refused(site.ask("POST", "/v1/projects/other/models/churn/versions", body, "mallory"))


@attack("CVE-2023-48023", "server-side request", "Ray", "2.8.1", "/log_proxy fetched the address in its query")
def an_address_in_the_query(site):
    """No query names a place to fetch from; logs come from the server's own files."""
    url = site.canary.url
    for path in (f"/log_proxy?url={url}", f"/v1/log_proxy?url={url}", f"/proxy={url}", f"/proxy?url={url}"):
        refused(site.ask("GET", path, who="owner"), 404)
    assert site.ask("GET", f"/v1/projects/fraud/models/churn/logs?url={url}&node={url}", who="viewer").status == 200
    refused(site.ask("GET", f"/v1/projects/fraud/models/churn/logs?version={url}", who="viewer"), 400)


@attack("CVE-2024-4325", "server-side request", "Gradio", "unknown", "a value with a `path` was fetched")
def an_address_as_a_value(site):
    """A value is a value: an address is given to the model as the text that it is, and an object where a text belongs does not fit."""
    url = site.canary.url
    assert site.ask("POST", PREDICT, {"age": 4, "city": url}).status == 200
    for value in ({"path": url}, {"url": url, "meta": {"_type": "gradio.FileData"}}, [url]):
        refused(site.ask("POST", PREDICT, {"age": 4, "city": value}), 400, 422)
    refused(site.ask("POST", PREDICT, {"age": {"path": url}}), 400, 422)


@attack("CVE-2024-47167", "server-side request", "Gradio", "5.0.0", "/queue/join fetched the addresses of files in its body")
def an_address_in_a_tensor(site):
    """Tensors hold their data in the request; parameters that name a place for it do nothing."""
    url = site.canary.url
    columns = [{"name": "age", "datatype": "INT64", "shape": [1], "data": [4], "parameters": {"url": url, "uri": url}},
               {"name": "city", "datatype": "BYTES", "shape": [1], "data": [url], "parameters": {"content_type": url}}]
    assert site.ask("POST", INFER, {"inputs": columns, "parameters": {"url": url, "callback": url}}).status in (200, 400)
    refused(site.ask("POST", INFER, {"inputs": [{**columns[0], "data": url}]}))
    refused(site.ask("POST", "/queue/join", {"data": [{"path": url}]}, "owner"), 404)


@attack("CVE-2025-52967", "server-side request", "MLflow", "3.1.0", "a handler passed requests on to wherever they said")
def an_address_as_the_target(site):
    """The server passes nothing on: a foreign target is refused by its name, and CONNECT is no method of it."""
    address = site.canary.address
    for target in (site.canary.url, f"http://{address}@127.0.0.1:{site.port}/v1/models", f"//{address}/x", f"/{site.canary.url}"):
        refused(site.get(target))
    for request in (f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n", f"CONNECT {address} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
        assert site.raw(request).status in (0, 400, 403, 404, 405)
    refused(site.ask("POST", "/api/2.0/gateway-proxy", {"gateway_path": site.canary.url}, "owner"), 404)


@attack("CVE-2026-24779", "server-side request", "vLLM", "0.14.1", "the check and the fetch read a backslash in an address differently")
def a_reference_that_two_readers_read_differently(site):
    """A reference to a vault is a path of few letters, without host, dots or escapes; the host comes from the operator alone."""
    address = site.canary.address
    for reference in (f"vault:http://{address}/x#y", f"vault://{address}/kv#x", f"vault:kv/data\\@{address}/x#y", f"vault:@{address}/kv/data/x#y", "vault:kv/../sys/seal#x",
                      "vault:kv/%2e%2e/sys#x", "vault:/kv/data/x#y", "vault:kv/data/x?y=z#w", "vault:kv/data/x\r\nHost: evil#w", f"{site.canary.url}#x"):
        body = {"value": reference, "secret": True, "reference": True}
        answer = site.ask("PUT", "/v1/projects/other/environments/production/variables/PASSWORD", body, "mallory")
        refused(answer, 422)


@attack("CVE-2025-54381", "server-side request", "BentoML", "1.4.19", "a form field that was an address instead of a file was fetched")
def an_address_in_a_form(site):
    """A field of a form is a column, and its value the text that it holds, whatever that is the address of."""
    form = f'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n{site.canary.url}\r\n--x--\r\n'.encode()
    for path in (PREDICT, INFER, "/v1/blobs/missing"):
        refused(site.ask("POST", path, form, "owner", Content_Type="multipart/form-data; boundary=x"), 400, 422)
    refused(site.ask("POST", PREDICT, site.canary.url.encode(), Content_Type="text/uri-list"), 400)


@attack("CVE-2026-2393", "server-side request", "MLflow", "3.9.0", "a webhook was sent to any address")
def a_webhook(site):
    """There are no webhooks, and bodies with a field that is not described are refused."""
    url = site.canary.url
    for path in ("/v1/webhooks", "/api/2.0/mlflow/webhooks/create", "/v1/projects/fraud/webhooks"):
        refused(site.ask("POST", path, {"name": "x", "url": url, "events": ["*"]}, "owner"), 404)
    for path, body in (("/v1/tokens", {"scopes": ["read"], "callback": url}), ("/v1/members", {"name": "x", "role": "viewer", "url": url}),
                       ("/v1/projects/fraud/models/churn/rollbacks", {"notify": url})):
        refused(site.ask("POST", path, body, "owner"), 400)


@attack("CVE-2026-28416", "server-side request", "Gradio", "6.6.0", "a downloaded configuration said what the proxy may fetch")
def an_address_in_a_manifest(site):
    """A manifest with a key that is not one of Decalog's is refused, so that none of them quietly names a place."""
    url = site.canary.url
    for manifest in ({"proxy_url": url}, {"model": {"name": "churn", "proxy_url": url}}, {"index": {"url": url}}, {"store": {"url": url}}, {"model": {"source": url}}):
        refused(site.push("mallory", "other", [file("model.py")], manifest=manifest), 400, 422)
