import { ActionIcon } from '@mantine/core';
import { useDisclosure, useLocalStorage, useMediaQuery } from '@mantine/hooks';
import { Outlet } from '@tanstack/react-router';
import { lazy, Suspense, useCallback, useEffect, useRef } from 'react';
import { connect } from '../api/live';
import { toProblem } from '../api/problem';
import { queries } from '../api/queries';
import { useSession } from '../api/session';
import { Icon } from '../parts/Icon';
import { Failed } from '../parts/Notices';
import { Skeletons } from '../parts/Skeletons';
import { Banner, SessionEnded } from './Banner';
import { useFindKey, useFindWanted } from './find-store';
import { Navigation } from './Navigation';
import { Shortcuts } from './shortcuts';
import { SignIn } from './SignIn';

const Find = lazy(() => import('./Find'));

/**
 * What is around all pages. Whoever has no session is told how to get one, at whatever address. If it ends later, the
 * page stays as it is, with what was typed into it.
 */
export function Frame() {
  const { data: me, error, refetch } = useSession();
  const hasEnded = me !== undefined && error !== null && toProblem(error).isStranger;
  useRefetchAfter(hasEnded);
  if (error && !me && toProblem(error).isStranger) return <SignIn />;
  if (error && !me) return <main className="page"><Banner /><Failed problem={error} onRetry={() => void refetch()} /></main>;
  return <Framed isKnown={me !== undefined && !hasEnded} hasEnded={hasEnded} />;
}

/** What was refused meanwhile is asked again. */
function useRefetchAfter(hasEnded: boolean) {
  const before = useRef(hasEnded);
  useEffect(() => {
    if (before.current && !hasEnded) void queries.invalidateQueries();
    before.current = hasEnded;
  }, [hasEnded]);
}

function Framed({ isKnown, hasEnded }: { isKnown: boolean; hasEnded: boolean }) {
  const [isFolded, setFolded] = useLocalStorage({ key: 'decalog-nav-folded', defaultValue: false, getInitialValueInEffect: false });
  const [isMenuOpen, menu] = useDisclosure(false);
  const isPhone = useMediaQuery('(max-width: 700px)', undefined, { getInitialValueInEffect: false });
  const fold = useCallback(() => setFolded((folded) => !folded), [setFolded]);
  useEffect(() => (isKnown ? connect() : undefined), [isKnown]);
  useFindKey();

  return (
    <div className="frame">
      <a href="#content" className="skip">To the content</a>
      {isPhone && (
        <header className="phone-bar">
          <ActionIcon aria-label="Menu" aria-expanded={isMenuOpen} onClick={menu.toggle}><Icon name={isMenuOpen ? 'cross' : 'menu'} /></ActionIcon>
          <b>Decalog</b>
        </header>
      )}
      {(!isPhone || isMenuOpen) && <Navigation isFolded={isFolded && !isPhone} onFold={fold} onGo={menu.close} />}
      <main id="content" className="page" tabIndex={-1}>
        {hasEnded ? <SessionEnded /> : <Banner />}
        {/* The page is drawn at once: what it asks for does not wait for who one is. */}
        <Suspense fallback={<Skeletons />}><Outlet /></Suspense>
      </main>
      <FindAnything />
      <Shortcuts onFold={fold} />
    </div>
  );
}

/** Loaded when it is wanted first. */
function FindAnything() {
  return useFindWanted() ? <Suspense><Find /></Suspense> : null;
}
