/** The same call in other languages. Pure. */

export interface Call {
  origin: string;
  path: string;
  reference: string;
  /** JSON of the row. */
  body: string;
  streams: boolean;
  /** Whether whoever calls from elsewhere needs a token. */
  withToken: boolean;
}

export const LANGUAGES = ['curl', 'Python', 'requests', 'R', 'JavaScript'] as const;
export type Language = (typeof LANGUAGES)[number];

export function snippet(language: Language, call: Call): string {
  switch (language) {
    case 'curl': return curl(call);
    case 'Python': return client(call);
    case 'requests': return requests(call);
    case 'R': return r(call);
    case 'JavaScript': return javaScript(call);
  }
}

function curl({ origin, path, body, streams, withToken }: Call): string {
  const token = withToken ? ` \\\n  -H "Authorization: Bearer $DECALOG_TOKEN"` : '';
  return `curl ${streams ? '-N ' : ''}'${origin}${path}'${token} \\\n  -H 'Content-Type: application/json' \\\n  -d '${body.replaceAll("'", "'\\''")}'`;
}

function client({ origin, reference, body, streams }: Call): string {
  const ask = streams
    ? `for item in client.stream("${reference}", row):\n    print(item)`
    : `print(client.predict("${reference}", row))`;
  return `import decalog  # pip install ./sdk/python; the token is that of DECALOG_TOKEN\n\nclient = decalog.Client("${origin}")\nrow = ${python(body)}\n${ask}`;
}

function requests({ origin, path, body, streams, withToken }: Call): string {
  const token = withToken ? `    headers={"Authorization": f"Bearer {os.environ['DECALOG_TOKEN']}"},\n` : '';
  const read = streams
    ? 'for line in answer.iter_lines(decode_unicode=True):\n    if line.startswith("data:"):\n        print(line[5:].strip())'
    : 'print(answer.json())';
  return `${withToken ? 'import os\n' : ''}import requests\n\nanswer = requests.post(\n    "${origin}${path}",\n${token}    json=${python(body)},\n${streams ? '    stream=True,\n' : ''}    timeout=30,\n)\nanswer.raise_for_status()\n${read}`;
}

function r({ origin, path, body, streams, withToken }: Call): string {
  const token = withToken ? '  req_auth_bearer_token(Sys.getenv("DECALOG_TOKEN")) |>\n' : '';
  const end = streams ? '  req_perform() |>\n  resp_body_string() |>\n  cat()' : '  req_perform() |>\n  resp_body_json()';
  return `library(httr2)\n\nrequest("${origin}${path}") |>\n${token}  req_body_raw(r"---(${body})---", type = "application/json") |>\n${end}`;
}

function javaScript({ origin, path, body, streams, withToken }: Call): string {
  const token = withToken ? '    "Authorization": `Bearer ${process.env.DECALOG_TOKEN}`,\n' : '';
  const read = streams
    ? 'for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) console.log(piece);'
    : 'console.log(await answer.json());';
  // The text is sent as it is: numbers beyond 2^53 would not survive JSON.stringify.
  return `const answer = await fetch("${origin}${path}", {\n  method: "POST",\n  headers: {\n    "Content-Type": "application/json",\n${token}  },\n  body: ${javaScriptText(body)},\n});\nif (!answer.ok) throw new Error((await answer.json()).error);\n${read}`;
}

function javaScriptText(body: string): string {
  return /[`\\]|\$\{/.test(body) ? JSON.stringify(body) : `\`${body}\``;
}

/** JSON as Python writes it. Outside texts, only three words differ. */
function python(body: string): string {
  return body.replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (part) => (part === 'true' ? 'True' : part === 'false' ? 'False' : part === 'null' ? 'None' : part));
}
