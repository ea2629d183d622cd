import { sentence } from './words';

/** What was looked at and is no cause, each with why not. */
export function RuledOut({ told }: { told: readonly string[] }) {
  // Several of one kind may be told in the same words.
  const once = [...new Set(told)];
  if (once.length === 0) return null;
  return (
    <section className="why-out" aria-label="Ruled out">
      <h2>Ruled out <span className="dim num">{once.length}</span></h2>
      <ul>{once.map((one) => <li key={one}>{sentence(one)}</li>)}</ul>
    </section>
  );
}
