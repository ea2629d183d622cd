//! Who asks: the local owner over the local socket, whoever has a token, a session of a browser or
//! a client certificate, or nobody. A token is looked up before the body is read, by its digest, in
//! what the ledger said last; no text is compared, and nobody waits for anybody.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::state::Access;
use domain::token::{Secret, TokenStatus};
use domain::{
    Action, Caller, CallerToken, CertificateName, CertificateNames, Code, Digest, Object,
    Principal, Problem, Reference, TokenId, TokenOrigin, TokenRecord,
};
use http::{HeaderMap, HeaderName, header};
use parking_lot::RwLock;
use policy::access::{Decision, may, may_with};
use policy::rate::{Limited, Permit, Usage};

use crate::{Peer, session};

/// By which a process at this machine proves that it can read the data directory.
pub const COOKIE: HeaderName = HeaderName::from_static("decalog-cookie");
/// The longest value of `Authorization` that is looked at, in bytes.
const AUTHORIZATION_BYTES_MAX: usize = 512;
/// A lease is so large that this many are a token's rows of a day: what is not used of the last is
/// lost when the process ends.
const LEASES_DAY: u64 = 100;

/// What decides who comes in.
pub struct Door {
    /// What the ledger said last.
    access: ArcSwap<Access>,
    /// What tokens have been used for, of those that were used.
    usages: RwLock<HashMap<TokenId, Arc<Usage>>>,
    begin: Instant,
    /// Whether a request for a prediction needs no token as long as nobody says otherwise.
    open_predictions: bool,
    /// SHA-256 of the cookie of the local socket.
    cookie: Option<Digest>,
    /// Gives out rows of a day; where there is none, they are counted in memory alone.
    pub lease_rows: OnceLock<LeaseRows>,
}

/// Gives out rows of a day, in days since 1970, of which a token may ask so many in all as the last
/// value says: as many of those that are wanted as are left, and none if that is not the least of
/// them. It may wait for a disk.
pub type LeaseRows = Arc<dyn Fn(TokenId, u64, RangeInclusive<u64>, u64) -> u64 + Send + Sync>;

/// Somebody who proved who they are.
pub struct Who {
    principal: Principal,
    token: Option<Presented>,
    by: By,
}

/// What proved who somebody is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// A program put it into the request.
    Program,
    /// A browser sent its session's cookie by itself, whatever page the request is from.
    Session,
    /// A certificate, which a browser may have shown by itself, too.
    Certificate,
}

/// The token that they came with.
struct Presented {
    record: Arc<TokenRecord>,
    digest: Digest,
    usage: Arc<Usage>,
    _on_its_way: Permit,
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The 401.
pub fn unproved(text: impl Into<String>) -> Problem {
    Problem::new(Code::Unauthenticated, text)
        .help("send a token as `Authorization: Bearer …`; decalog token create makes one")
}

fn limited(limited: &Limited) -> Problem {
    let mut problem = Problem::new(Code::TokenLimit, limited.to_string());
    // At most a day.
    problem.retry_after_s = u32::try_from(limited.retry_after_s()).ok();
    problem.help("send fewer requests with this token, or ask its owner for a higher limit")
}

impl Who {
    /// As records name them.
    pub fn recorded(&self) -> String {
        self.principal.to_string()
    }
}

impl Door {
    /// One through which nobody but the local owner comes until the ledger was read.
    pub fn new(open_predictions: bool, cookie: Option<Digest>) -> Door {
        Door {
            access: ArcSwap::from_pointee(Access::default()),
            usages: RwLock::default(),
            begin: Instant::now(),
            open_predictions,
            cookie,
            lease_rows: OnceLock::new(),
        }
    }

    /// Puts what the ledger says in force.
    pub fn apply(&self, access: Access) {
        self.usages.write().retain(|id, _| access.tokens.contains_key(id));
        self.access.store(Arc::new(access));
    }

    /// Who sent a request; nobody if it says nothing. What is presented must be good, also where
    /// nothing is needed.
    pub fn who(
        &self,
        headers: &HeaderMap,
        authority: Option<&str>,
        peer: &Peer,
    ) -> Result<Option<Who>, Problem> {
        let certificate = match peer {
            Peer::Local { .. } => return self.local_owner(headers).map(Some),
            Peer::Tcp { certificate, .. } => certificate.as_deref(),
        };
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            let session = session::text(headers, authority).map(|text| self.session(text));
            return match session.transpose()?.flatten() {
                Some(who) => Ok(Some(who)),
                None => certificate.map_or(Ok(None), |names| self.certified(names)),
            };
        };
        if values.next().is_some() {
            return Err(unproved("the request has two headers `Authorization`"));
        }
        match presented(value.as_bytes()) {
            Some(text) => self.bearer(&text).map(Some),
            None => Err(unproved(
                "the header `Authorization` is none of `Bearer TOKEN`, `Token TOKEN` and Basic with \
                 the token as the password",
            )),
        }
    }

    fn local_owner(&self, headers: &HeaderMap) -> Result<Who, Problem> {
        let given = headers.get(COOKIE).map(|value| Digest::of(value.as_bytes()));
        match (given, self.cookie) {
            (Some(given), Some(own)) if given == own => {
                Ok(Who { principal: Principal::LocalOwner, token: None, by: By::Program })
            }
            _ => Err(Problem::new(
                Code::Unauthenticated,
                "the request on the local socket has not the cookie of this server",
            )
            .help("use the decalog command, which reads it from the data directory")),
        }
    }

    fn bearer(&self, text: &str) -> Result<Who, Problem> {
        let secret: Secret = text.parse().map_err(|error| unproved(format!("{error}")))?;
        let digest = secret.digest();
        let access = self.access.load();
        let Some(record) = access.token(&digest) else {
            return Err(unproved("the token is not one of this server's"));
        };
        check(&access, record, &digest)?;
        if record.origin == TokenOrigin::Session {
            return Err(unproved("what a browser has in its cookie is no token")
                .help("make one: decalog token create, or decalog login"));
        }
        self.admit(record, digest, By::Program)
    }

    fn admit(&self, record: &Arc<TokenRecord>, digest: Digest, by: By) -> Result<Who, Problem> {
        let usage = self.usage(record.root());
        let now_ns = self.begin.elapsed().as_nanos() as u64;
        let permit = usage.admit(&record.limits, now_ns).map_err(|over| limited(&over))?;
        let token = Presented { record: record.clone(), digest, usage, _on_its_way: permit };
        Ok(Who { principal: record.owner, token: Some(token), by })
    }

    /// Whose session a browser has; nobody's, if it is over: a browser goes on to send its cookie.
    fn session(&self, text: &str) -> Result<Option<Who>, Problem> {
        let Ok(secret) = text.parse::<Secret>() else { return Ok(None) };
        let (digest, access) = (secret.digest(), self.access.load());
        let found = access.token(&digest).filter(|record| {
            record.origin == TokenOrigin::Session && check(&access, record, &digest).is_ok()
        });
        found.map(|record| self.admit(record, digest, By::Session)).transpose()
    }

    /// Who is known by the names in a certificate; nobody, if none of them is somebody's.
    fn certified(&self, names: &CertificateNames) -> Result<Option<Who>, Problem> {
        let access = self.access.load();
        let mut found =
            CertificateName::all(names).filter_map(|name| access.certificates.get(&name).copied());
        let Some(principal) = found.next() else { return Ok(None) };
        match found.all(|other| other == principal) {
            true => Ok(Some(Who { principal, token: None, by: By::Certificate })),
            false => Err(unproved("the client certificate has names of several principals")
                .help("use one with a name of one, or send a token")),
        }
    }

    fn usage(&self, id: TokenId) -> Arc<Usage> {
        if let Some(usage) = self.usages.read().get(&id) {
            return usage.clone();
        }
        self.usages.write().entry(id).or_default().clone()
    }

    /// The entry that changed last who may do what.
    pub fn seq(&self) -> u64 {
        self.access.load().head.seq
    }

    /// Whether somebody's token is still good, and they are there: it may have been revoked since
    /// they came in.
    pub fn recheck(&self, who: &Who) -> Result<(), Problem> {
        let access = self.access.load();
        let Some(token) = &who.token else {
            return match access.is_known(&who.principal) {
                true => Ok(()),
                false => Err(unproved("the client certificate is nobody's any more")),
            };
        };
        match access.token(&token.digest) {
            Some(record) => check(&access, record, &token.digest),
            None => Err(unproved("the token is not valid any more")),
        }
    }

    /// Whether somebody may ask what a reference names. What they may not see is not found.
    pub fn may_ask(&self, who: Option<&Who>, reference: &str) -> Result<(), Problem> {
        let access = self.access.load();
        let Some(who) = who else {
            return match self.open_predictions && !access.head.tokens_required {
                true => Ok(()),
                false => Err(unproved("this server answers only who has a token")),
            };
        };
        if who.principal == Principal::LocalOwner {
            return Ok(());
        }
        let reference: Reference = reference
            .parse()
            .map_err(|error| Problem::new(Code::BadReference, format!("{error}")))?;
        let environment = reference.environment();
        let object = Object::ModelIn(reference.model, environment);
        let scopes = who.token.as_ref().map(|token| &token.record.scopes);
        let own = may(&access, &who.principal, scopes, Action::Predict, &object);
        match may_with(&access, own, who.known_to(), Action::Predict, &object) {
            Decision::Allowed(_) => Ok(()),
            Decision::NotFound(_) => Err(not_found(&object)),
            other => Err(Problem::new(
                Code::Forbidden,
                other.explain("this token's owner", Action::Predict, &object),
            )
            .help("ask an owner of the project for the role, or use a token with the scope")),
        }
    }

    /// Takes the rows of a request from those that a token has for the day. What is kept of that
    /// is written rarely, beside the threads that serve.
    pub async fn take_rows(&self, who: Option<&Who>, rows: usize) -> Result<(), Problem> {
        let Some(token) = who.and_then(|who| who.token.as_ref()) else { return Ok(()) };
        let (usage, limits, rows) = (&token.usage, &token.record.limits, rows as u64);
        let Some(rows_day_max) = limits.rows_day_max else { return Ok(()) };
        let Some(lease) = self.lease_rows.get() else {
            return usage.take_rows(limits, rows, now_ms()).map_err(|over| limited(&over));
        };
        while let Err(over) = usage.take_leased(limits, rows, now_ms()) {
            let day = usage.day(now_ms());
            let wanted = rows.max(rows_day_max / LEASES_DAY);
            let wanted = usage.rows_short(rows, now_ms()).max(1)..=wanted.max(1);
            let (lease, token) = (lease.clone(), token.record.root());
            let leasing =
                tokio::task::spawn_blocking(move || lease(token, day, wanted, rows_day_max));
            let granted = leasing.await.unwrap_or(0);
            if granted == 0 {
                return Err(limited(&over));
            }
            usage.add_lease(day, granted);
        }
        Ok(())
    }
}

/// As for what does not exist.
fn not_found(object: &Object) -> Problem {
    match object.model() {
        Some(key) => domain::near::no_such_model(key, None),
        None => Problem::new(Code::NoSuchPath, "there is nothing at this path"),
    }
}

/// Refuses a token that is not good now.
fn check(access: &Access, record: &TokenRecord, digest: &Digest) -> Result<(), Problem> {
    let since = |what: &str| Err(unproved(format!("token {} {what}", record.id)));
    match record.status(digest, now_ms()) {
        TokenStatus::Valid if !access.is_known(&record.owner) => {
            since("belongs to somebody who is gone")
        }
        TokenStatus::Valid if !are_makers_there(access, record, digest) => {
            since("was made by somebody who is gone: its owner has to rotate it")
        }
        TokenStatus::Valid => Ok(()),
        TokenStatus::Other => Err(unproved("the token is not one of this server's")),
        TokenStatus::Revoked { .. } => since("was revoked"),
        TokenStatus::Expired { .. } => since("has expired"),
        TokenStatus::Replaced { .. } => since("was rotated, and the one before it is over"),
    }
}

/// Whether everybody who has known a token's text is still there.
fn are_makers_there(access: &Access, record: &TokenRecord, digest: &Digest) -> bool {
    record.known_to(digest).iter().all(|other| access.is_known(other))
}

/// The token in a value of `Authorization`.
fn presented(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value.get(..AUTHORIZATION_BYTES_MAX).unwrap_or(value)).ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim_matches(' ');
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => Some(rest.to_string()),
        "basic" => {
            let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            let (user, password) = pair.split_once(':')?;
            // Some clients have only a place for a user.
            Some(if password.is_empty() { user } else { password }.to_string())
        }
        _ => None,
    }
}

impl Who {
    /// What proved who they are.
    pub fn by(&self) -> By {
        self.by
    }

    fn known_to(&self) -> &[Principal] {
        self.token.as_ref().map_or(&[], |token| token.record.known_to(&token.digest))
    }

    /// Whether they own the machine and are at it, so that no right of theirs ends.
    pub fn is_local_owner(&self) -> bool {
        self.principal == Principal::LocalOwner && self.token.is_none()
    }

    /// As the control plane knows them.
    pub fn caller(&self) -> Caller {
        let token = self.token.as_ref().map(|token| CallerToken {
            id: token.record.id,
            digest: token.digest,
            scopes: token.record.scopes.clone(),
            shared: token.record.is_shared(&token.digest),
            known_to: token.record.known_to(&token.digest).to_vec(),
        });
        Caller { principal: self.principal, token }
    }
}
