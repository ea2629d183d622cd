// What a page of somebody else can send, to every operation that it is told, and what it could read of the answers.
async (target, operations, forged) => {
  const read = [], settled = [];
  const within = (promise, ms) => Promise.race([promise, new Promise((done) => setTimeout(done, ms))]);
  const take = async (what, answer) => {
    if (answer.type !== "opaque") read.push([what, answer.status, await answer.text()]);
  };
  const send = (what, url, options) =>
    settled.push(within(fetch(url, { credentials: "include", ...options }).then((answer) => take(what, answer), () => {}), 20000));
  const frame = (name) => {
    const made = document.createElement("iframe");
    made.name = name;
    document.body.append(made);
    return made;
  };
  const loaded = (what, made) =>
    within(new Promise((done) => (made.onload = done)), 20000).then(() => {
      try {
        const text = made.contentDocument.documentElement.innerText;
        if (text) read.push([what, 0, text]);
      } catch {}
    });
  const form = (what, url, kind, text) => {
    const made = document.createElement("form");
    Object.assign(made, { method: "POST", action: url, enctype: kind, target: what });
    // As text/plain this is `name=value`: JSON with the sign in a string.
    const field = document.createElement("input");
    const at = text.lastIndexOf('"');
    [field.name, field.value] = [text.slice(0, at) + '", "x": "', '"' + text.slice(at + 1)];
    made.append(field);
    document.body.append(made);
    settled.push(loaded(what, frame(what)));
    made.submit();
  };
  for (const [method, path, body] of operations) {
    const url = target + path, what = `${method} ${path}`;
    const text = body ?? "{}";
    const payload = method === "GET" ? {} : { body: text };
    send(`preflighted ${what}`, url, { method, ...payload, headers: { "content-type": "application/json" } });
    send(`simple ${what}`, url, { method: method === "GET" ? "GET" : "POST", ...payload });
    send(`opaque ${what}`, url, { method: method === "GET" ? "GET" : "POST", mode: "no-cors", ...payload });
    if (method === "GET") {
      for (const kind of ["img", "script"]) {
        const made = document.createElement(kind);
        settled.push(within(new Promise((done) => (made.onload = made.onerror = done)), 20000));
        made.src = url;
        document.body.append(made);
      }
      const made = frame(`frame ${what}`);
      settled.push(loaded(`frame ${what}`, made));
      made.src = url;
    } else if (forged) {
      for (const kind of ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]) form(`${kind} ${what}`, url, kind, text);
      navigator.sendBeacon(url, text);
    }
  }
  for (const path of ["/v1/events?follow=true", "/v2", "/"]) {
    const socket = new WebSocket(target.replace("http", "ws") + path);
    settled.push(within(new Promise((done) => (socket.onclose = socket.onerror = done)), 20000));
    socket.onopen = socket.onmessage = () => read.push([`socket ${path}`, 0, "open"]);
  }
  await Promise.all(settled);
  return read;
}
