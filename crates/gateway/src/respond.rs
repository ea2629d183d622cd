//! From a request's head to whoever answers it: inference here, everything else by the control
//! plane, on its own runtime.

use std::sync::Arc;

use domain::{Caller, Code, Problem};
use http::{HeaderMap, Request, Response};
use hyper::body::{Body as _, Incoming};
use tower::ServiceExt;

use crate::access::{By, Who, unproved};
use crate::arriving::{Arriving, discard};
use crate::body::Body;
use crate::connections::Ticket;
use crate::endpoints::endpoint;
use crate::peer::is_passed_on;
use crate::serving::Serve;
use crate::turns::Turn;
use crate::watch::{Standing, Watch};
use tokio::sync::watch;

use crate::{Gateway, Peer, admit, reply};

/// Who sends a request to the control plane, as an extension of it.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Who they proved to be; nobody if they did not say.
    pub caller: Option<Caller>,
    /// Whether they are at this machine.
    pub is_loopback: bool,
    /// Who is at the other end of the connection.
    pub peer: Arc<Peer>,
}

/// Whether the caller of the control plane still waits for the answer, as an extension of the
/// request: what only reads may end when nobody does.
#[derive(Clone, Debug)]
pub struct Waiting(watch::Receiver<()>);

impl Waiting {
    /// Ends when the caller hangs up. That the answer has begun ends it, too.
    pub async fn over(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Whether a request can only be of this machine.
fn is_near(peer: &Peer, headers: &HeaderMap) -> bool {
    let is_local = matches!(peer, Peer::Local { .. });
    is_local || peer.is_of_this_machine() && !is_passed_on(headers)
}

impl Gateway {
    pub(crate) async fn respond(
        self: Arc<Gateway>,
        request: Request<Incoming>,
        serve: &Serve,
        ticket: Ticket,
        peer: &Arc<Peer>,
    ) -> Response<Body> {
        let who = match self.enter(&request, peer) {
            Ok(who) => who,
            Err(problem) => {
                discard(request.into_body()).await;
                return reply::problem(&problem);
            }
        };
        let mut response = match endpoint(request.uri().path()) {
            Some(endpoint) => {
                let mut response = self.infer(endpoint, request, &ticket, who.as_ref()).await;
                response.body_mut().hold(ticket);
                response
            }
            None => self.control(request, serve, Arc::new(ticket), who.as_ref(), peer).await,
        };
        let standing = response.extensions_mut().remove::<Standing>();
        let watch = Watch::new(&self.door, who, standing);
        response.body_mut().watch(watch);
        response
    }

    /// Whether a request may come in at all, and who sends it.
    fn enter<B>(&self, request: &Request<B>, peer: &Peer) -> Result<Option<Who>, Problem> {
        let is_local = matches!(peer, Peer::Local { .. });
        if !is_local {
            admit::check_host(&self.config.hosts, request.uri(), request.headers())?;
            if endpoint(request.uri().path()).is_none() {
                admit::check_manages(&self.config.hosts, request, peer.is_encrypted())?;
            }
        }
        let authority = admit::authority(request.uri(), request.headers());
        let who = self.door.who(request.headers(), authority, peer)?;
        match who.as_ref().map(Who::by) {
            Some(By::Session) => {
                admit::check_session(&self.config.hosts, request, peer.is_encrypted())?;
            }
            Some(By::Certificate) => {
                admit::check_manages(&self.config.hosts, request, peer.is_encrypted())?;
            }
            Some(By::Program) | None => {}
        }
        let is_open = self.config.open_predictions && is_near(peer, request.headers());
        // Of the data plane only health is for everybody, wherever they are.
        let path = request.uri().path();
        if who.is_none() && !is_open && endpoint(path).is_some_and(|it| it.reference().is_some()) {
            return Err(unproved("this server answers only who has a token"));
        }
        Ok(who)
    }

    async fn control(
        &self,
        mut request: Request<Incoming>,
        serve: &Serve,
        ticket: Arc<Ticket>,
        who: Option<&Who>,
        peer: &Arc<Peer>,
    ) -> Response<Body> {
        let is_loopback = is_near(peer, request.headers());
        let asking = Asking { caller: who.map(Who::caller), is_loopback, peer: peer.clone() };
        request.extensions_mut().insert(asking);
        // Dropped with this future, which a caller who hangs up ends.
        let (_here, waiting) = watch::channel(());
        request.extensions_mut().insert(Waiting(waiting));
        let turn = Arc::new(self.turns.of(request.uri().path()));
        if let Err(problem) = turn.take() {
            return reply::problem(&problem);
        }
        let router = serve.control.clone();
        let arriving =
            |incoming| Arriving::new(incoming, ticket.clone(), turn.clone(), &self.config);
        let request = request.map(|incoming| axum::body::Body::new(arriving(incoming)));
        let of_answer = turn.clone();
        // A caller that hangs up does not end the request: its turn lasts as long as the
        // work.
        let answered = serve.control_runtime.spawn(async move {
            let answered = router.oneshot(request).await;
            of_answer.give();
            answered
        });
        match answered.await {
            Ok(Ok(response)) => self.answer_of_control(response, ticket, &turn),
            Ok(Err(never)) => match never {},
            Err(error) => {
                tracing::error!("a control request failed: {error}");
                let problem =
                    Problem::new(Code::Internal, "the control plane failed on this request")
                        .help("see the server's log");
                reply::problem(&problem)
            }
        }
    }

    fn answer_of_control(
        &self,
        response: Response<axum::body::Body>,
        ticket: Arc<Ticket>,
        turn: &Turn,
    ) -> Response<Body> {
        let is_whole = response.body().size_hint().exact().is_some();
        let stream = if is_whole { Ok(None) } else { self.turns.stream().map(Some) };
        match (turn.refusal(), stream) {
            (Some(problem), _) | (None, Err(problem)) => reply::problem(&problem),
            (None, Ok(stream)) => response.map(|body| Body::control(body, ticket, stream)),
        }
    }
}
