import { bytes, countOf } from '../../../format';
import type { Schema } from '../../../api/client';
import { Failed } from '../../../parts/Notices';
import { Skeletons } from '../../../parts/Skeletons';
import { useChanges } from './api';

const WORDS = { added: 'added', removed: 'removed', changed: 'changed' } as const;

/** Files that differ, line by line where they are texts. */
export function Files({ project, model, a, b }: { project: string; model: string; a: string; b: string }) {
  const { data, error, isPending, refetch } = useChanges(project, model, a, b);
  return (
    <section className="compare-section">
      <h2>Files {data && <span className="dim">{data.files.length === 0 ? 'the same' : `${countOf(data.files.length, 'file')} ${data.files.length === 1 ? 'differs' : 'differ'}, ${data.files_same} the same`}</span>}</h2>
      {isPending && <Skeletons lines={2} />}
      {error && <Failed problem={error} onRetry={() => void refetch()} />}
      {data?.files.map((file) => <OneFile key={file.path} file={file} />)}
    </section>
  );
}

function OneFile({ file }: { file: Schema<'FileChanged'> }) {
  const size = file.change === 'changed' && file.bytes_before !== file.bytes_after ? `${bytes(file.bytes_before)} → ${bytes(file.bytes_after)}` : bytes(file.bytes_after ?? file.bytes_before);
  const head = <><code>{file.path}</code> <span className="compare-mark" data-word={WORDS[file.change]}>{WORDS[file.change]}</span> <span className="dim">{size}{file.no_lines && `, ${file.no_lines}`}</span></>;
  if (!file.lines) return <p className="compare-file">{head}</p>;
  return (
    <details className="compare-file">
      <summary>{head}</summary>
      <pre className="compare-lines" tabIndex={0} aria-label={`Lines of ${file.path} that differ`}>
        {file.lines.split('\n').map((line, at) => <span key={at} data-side={line.startsWith('+') ? 'after' : line.startsWith('-') ? 'before' : undefined}>{line}{'\n'}</span>)}
        {file.lines_left_out > 0 && <span className="dim">… {file.lines_left_out} more lines</span>}
      </pre>
    </details>
  );
}
