import { Command } from '../../../parts/Command';

/** The two ways to say what turned out to be true. */
export function HowToSend({ project, model, open = false }: { project: string; model: string; open?: boolean }) {
  const address = `${location.origin}/v1/projects/${project}/models/${model}/feedback`;
  return (
    <details className="how-to" open={open}>
      <summary>Send the truth</summary>
      <div className="how-to-body">
        <p className="dim">A file of the ids of requests and what turned out to be true. Columns that are not known are passed over.</p>
        <Command>{`decalog feedback ${model} truth.parquet`}</Command>
        <p className="dim">By a key that callers sent as <code>Decalog-Key: customer=42</code>.</p>
        <Command>{`decalog feedback ${model} left.csv --key customer --truth left`}</Command>
        <p className="dim">By HTTP, one or many; the id is the header <code>Decalog-Request-Id</code> of the answer.</p>
        <Command>{`curl -H "Authorization: Bearer $DECALOG_TOKEN" ${address} --json '{"id": "0199a3f2-…", "truth": true}'`}</Command>
      </div>
    </details>
  );
}
