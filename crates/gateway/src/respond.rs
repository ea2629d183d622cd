//! From a request's head to whoever answers it: inference here, everything else by the control
//! plane, on its own runtime.

use std::sync::Arc;

use bytes::Bytes;
use domain::{Caller, Code, Problem};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::access::{By, Who, unproved};
use crate::arriving::{Arriving, Upload};
use crate::body::Body;
use crate::coding::{self, Coding};
use crate::connections::Ticket;
use crate::cors::Page;
use crate::endpoints::endpoint;
use crate::heavy::Cost;
use crate::peer::is_passed_on;
use crate::serving::Serve;
use crate::turns::Turn;
use crate::watch::{Standing, Watch};
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

/// The control plane takes bodies as they are.
fn only_plain(headers: &HeaderMap) -> Result<(), Problem> {
    match Coding::of(headers)? {
        None => Ok(()),
        Some(_) => {
            let text =
                "this path takes no body that is compressed: only requests for predictions do";
            Err(Problem::new(Code::UnsupportedEncoding, text).help("send it as it is"))
        }
    }
}

impl Gateway {
    pub(crate) async fn respond(
        self: Arc<Gateway>,
        request: Request<Incoming>,
        serve: &Serve,
        ticket: Ticket,
        peer: &Arc<Peer>,
    ) -> Response<Body> {
        let cors = &self.config.cors;
        let is_asked = cors.is_on() && endpoint(request.uri().path()).is_some();
        let page = if is_asked { cors.page(request.headers()) } else { None };
        let mut response = self.respond_to(request, serve, ticket, peer, page.as_ref()).await;
        if let Some(page) = page {
            page.may_read(response.headers_mut());
        }
        response
    }

    async fn respond_to(
        &self,
        request: Request<Incoming>,
        serve: &Serve,
        ticket: Ticket,
        peer: &Arc<Peer>,
        page: Option<&Page>,
    ) -> Response<Body> {
        let entered = self.check_names(&request, peer, page.is_some());
        let allowed = page.and_then(|page| page.preflight(request.method(), request.headers()));
        if let (Ok(()), Some(allowed)) = (&entered, allowed) {
            let mut response = Response::new(Body::from(Bytes::new()));
            (*response.status_mut(), *response.headers_mut()) = (StatusCode::NO_CONTENT, allowed);
            return response;
        }
        let who = match entered.and_then(|()| self.enter(&request, peer)) {
            Ok(who) => who,
            Err(problem) => {
                let (parts, incoming) = request.into_parts();
                drop(Upload::new(incoming, &parts.headers, &self.config).of_stranger());
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

    /// Whether a request calls this server by a name of its own, and is of no page that must not
    /// send it.
    fn check_names<B>(
        &self,
        request: &Request<B>,
        peer: &Peer,
        may_ask: bool,
    ) -> Result<(), Problem> {
        if matches!(peer, Peer::Local { .. }) {
            return Ok(());
        }
        admit::check_host(&self.config.hosts, request.uri(), request.headers(), may_ask)?;
        match endpoint(request.uri().path()) {
            Some(_) => Ok(()),
            None => admit::check_manages(&self.config.hosts, request, peer.is_encrypted()),
        }
    }

    /// Whether a request may come in at all, and who sends it.
    fn enter<B>(&self, request: &Request<B>, peer: &Peer) -> Result<Option<Who>, Problem> {
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
        let packing = Coding::accepted(request.headers());
        let (parts, incoming) = request.into_parts();
        let upload = Upload::new(incoming, &parts.headers, &self.config);
        let upload = if who.is_none() { upload.of_stranger() } else { upload };
        if let Err(problem) = only_plain(&parts.headers) {
            return reply::problem(&problem);
        }
        let arriving = Arriving::new(upload, ticket.clone(), turn.clone(), &self.config);
        let request = Request::from_parts(parts, axum::body::Body::new(arriving));
        let of_answer = turn.clone();
        // A caller that hangs up does not end the request: its turn lasts as long as the
        // work.
        let answered = serve.control_runtime.spawn(async move {
            let answered = router.oneshot(request).await;
            of_answer.give();
            answered
        });
        match answered.await {
            Ok(Ok(response)) => {
                let response = self.packed(response, packing).await;
                self.answer_of_control(response, ticket, &turn)
            }
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

    /// Compresses a whole answer that is large text, for who accepts that.
    async fn packed(
        &self,
        response: Response<axum::body::Body>,
        packing: Option<Coding>,
    ) -> Response<axum::body::Body> {
        let bytes = response.body().size_hint().exact().unwrap_or(0);
        let is_worth_it = bytes >= coding::PACKED_BYTES_MIN as u64;
        let Some(coding) =
            packing.filter(|_| is_worth_it && coding::is_packable(response.headers()))
        else {
            return response;
        };
        let (mut parts, body) = response.into_parts();
        let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
            let problem = Problem::new(Code::Internal, "the answer broke off").help("try again");
            return reply::problem(&problem).map(axum::body::Body::new);
        };
        let plain = body.clone();
        let packed = self.heavy.run(Cost::Text(usize::MAX), move || coding::pack(coding, &body));
        let packed = packed.await.ok().flatten();
        coding::label(&mut parts.headers, packed.as_ref().map(|_| coding));
        if packed.is_some() {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        Response::from_parts(parts, packed.unwrap_or(plain).into())
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
