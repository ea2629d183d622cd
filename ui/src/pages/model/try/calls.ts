/** The same call in other languages. Pure. */
import { ENCODED_ANYWHERE } from './bytes';
import type { FormField } from './row';

export interface Call {
  origin: string;
  path: string;
  reference: string;
  /** JSON of the row. */
  body: string;
  /** The row as a form, if a column of it is a file. */
  form: readonly FormField[] | null;
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

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The command line of Decalog. */
export function command({ reference, body, form }: Pick<Call, 'reference' | 'body' | 'form'>): string {
  const columns = form?.map(({ name, text }) => quoted(`${name}=${text ?? '@FILE'}`)).join(' ');
  return `decalog predict ${reference} ${columns ?? quoted(body)}`;
}

function curl({ origin, path, body, form, streams, withToken }: Call): string {
  const token = withToken ? ` \\\n  -H "Authorization: Bearer $DECALOG_TOKEN"` : '';
  const lines = form?.map(({ name, text }) => (text === null ? `-F ${quoted(`${name}=@FILE`)}` : `--form-string ${quoted(`${name}=${text}`)}`));
  const sent = lines ?? ["-H 'Content-Type: application/json'", `-d ${quoted(body)}`];
  return `curl ${streams ? '-N ' : ''}'${origin}${path}'${token}${sent.map((line) => ` \\\n  ${line}`).join('')}`;
}

/** How Python reads the file whose bytes stand in a row. */
const READ = 'open("FILE", "rb").read()';

function client({ origin, reference, body, streams }: Call): string {
  const ask = streams
    ? `for item in client.stream("${reference}", row):\n    print(item)`
    : `print(client.predict("${reference}", row))`;
  return `import decalog  # pip install ./sdk/python; the token is that of DECALOG_TOKEN\n\nclient = decalog.Client("${origin}")\nrow = ${python(body.replace(ENCODED_ANYWHERE, READ))}\n${ask}`;
}

function requests({ origin, path, body: whole, streams, withToken }: Call): string {
  const body = whole.replace(ENCODED_ANYWHERE, `{"b64": base64.b64encode(${READ}).decode()}`);
  const token = withToken ? `    headers={"Authorization": f"Bearer {os.environ['DECALOG_TOKEN']}"},\n` : '';
  const read = streams
    ? 'for line in answer.iter_lines(decode_unicode=True):\n    if line.startswith("data:"):\n        print(line[5:].strip())'
    : 'print(answer.json())';
  return `${body === whole ? '' : 'import base64\n'}${withToken ? 'import os\n' : ''}import requests\n\nanswer = requests.post(\n    "${origin}${path}",\n${token}    json=${python(body)},\n${streams ? '    stream=True,\n' : ''}    timeout=30,\n)\nanswer.raise_for_status()\n${read}`;
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
