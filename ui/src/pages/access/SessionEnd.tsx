import { useSession } from '../../api/session';
import { Time } from '../../parts/Time';
import { useTokens } from './api';

/** A token ends no later than the one that it was made with, and a session of a browser is one: that has to be known before. */
export function SessionEnd({ verb }: { verb: string }) {
  const { data: me } = useSession();
  const { data } = useTokens();
  const mine = data?.tokens.find((token) => token.id === me?.token);
  if (!mine || mine.expires_ms === null) return null;
  return <div>What is {verb} here ends with your session, <Time at={mine.expires_ms} />, at the latest. The command in a terminal is not bound to it.</div>;
}
