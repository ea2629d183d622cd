import { useQuery } from '@tanstack/react-query';
import { read } from '../api/client';
import { Command } from '../parts/Command';
import { EnterLink } from './EnterLink';

interface Server {
  url: string;
  version: string;
}

/** For whoever is nobody yet: how to become somebody. The page goes on by itself as soon as there is a session. */
export function SignIn() {
  const { data: server } = useQuery({ queryKey: ['server'], queryFn: ({ signal }) => read<Server>('/v1/server', {}, signal) });
  return (
    <main className="sign-in">
      <h1>Decalog</h1>
      <p>This server answers whoever it knows. On its machine, and wherever you are logged in by a terminal, this opens a session:</p>
      <Command>decalog dashboard</Command>
      <p>To go on in this very page, print the link with <code>--print</code>:</p>
      <EnterLink />
      <p>
        <a href="/login">Log in by your identity provider</a>
        <span className="dim">, where one is configured</span>
      </p>
      <p className="dim small">
        {server && <>{server.url} · version {server.version} · </>}this page goes on by itself once there is a session
      </p>
    </main>
  );
}
