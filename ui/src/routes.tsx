/**
 * All paths of the dashboard, and what each says behind `?`. Pages are loaded when they are opened, except the
 * overview, which most people begin with.
 */
import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router';
import { accessSearch } from './pages/access/search';
import { alarmsSearch } from './pages/alarms/search';
import { eventsSearch } from './pages/events/search';
import { modelSearch } from './pages/model/search';
import { OverviewPage } from './pages/overview/OverviewPage';
import { overviewSearch } from './pages/overview/search';
import { systemSearch } from './pages/system/search';
import { parseSearch, stringifySearch } from './search';
import { PageFailed } from './shell/Boundary';
import { Frame } from './shell/Frame';
import { NotFound } from './shell/NotFound';
import { Skeletons } from './parts/Skeletons';

const root = createRootRoute({ component: Frame, notFoundComponent: NotFound });
const getParentRoute = () => root;

const overview = createRoute({ getParentRoute, path: '/', validateSearch: overviewSearch, component: OverviewPage });
const model = createRoute({
  getParentRoute,
  path: '/models/$project/$model',
  validateSearch: modelSearch,
  component: lazyRouteComponent(() => import('./pages/model/ModelPage'), 'ModelPage'),
});
const alarms = createRoute({
  getParentRoute,
  path: '/alarms',
  validateSearch: alarmsSearch,
  component: lazyRouteComponent(() => import('./pages/alarms/AlarmsPage'), 'AlarmsPage'),
});
const events = createRoute({
  getParentRoute,
  path: '/events',
  validateSearch: eventsSearch,
  component: lazyRouteComponent(() => import('./pages/events/EventsPage'), 'EventsPage'),
});
const access = createRoute({
  getParentRoute,
  path: '/access',
  validateSearch: accessSearch,
  component: lazyRouteComponent(() => import('./pages/access/AccessPage'), 'AccessPage'),
});
const system = createRoute({
  getParentRoute,
  path: '/system',
  validateSearch: systemSearch,
  component: lazyRouteComponent(() => import('./pages/system/SystemPage'), 'SystemPage'),
});

const routeTree = root.addChildren([overview, model, alarms, events, access, system]);

export function makeRouter() {
  return createRouter({
    routeTree,
    parseSearch,
    stringifySearch,
    defaultPreload: 'intent',
    defaultPendingComponent: Skeletons,
    defaultErrorComponent: PageFailed,
    scrollRestoration: false,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
