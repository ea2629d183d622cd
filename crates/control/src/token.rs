//! Tokens: made, rotated, revoked. The text of one is given once and kept nowhere.

use std::sync::Arc;

use domain::event::PLATFORM;
use domain::scope::Askable;
use domain::token::{Limits, RANDOM_BYTES, Secret, TokenStatus};
use domain::{
    Caller, Code, Event, Grant, Grantee, Principal, PrincipalKind, Problem, Reach, Role, Scope,
    Scopes, State, TokenId, TokenKind, TokenOrigin, TokenRecord,
};
use policy::access::{Asker, may_make_token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Control;
use crate::access::{check_token, permit};
use crate::member::{object_of, permit_giving};
use crate::random::random;

/// The most valid tokens of one principal.
const TOKENS_MAX: usize = 256;

/// A token to be made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Whose it is: the name of a person or a service; the caller's own if unsaid. A name that
    /// nobody has becomes a service, which may ask the models that the scopes name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What it may be used for at most.
    pub scopes: Scopes,
    /// How much it may be used.
    #[serde(default)]
    pub limits: Limits,
    /// For how long it is valid, in milliseconds; for ever if unsaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_ms: Option<u64>,
}

/// A token as it is to be.
pub(crate) struct Wanted {
    owner: Principal,
    scopes: Scopes,
    limits: Limits,
    origin: TokenOrigin,
    valid_ms: Option<u64>,
}

impl Wanted {
    /// Without limits.
    pub(crate) fn new(
        owner: Principal,
        scopes: Scopes,
        origin: TokenOrigin,
        valid_ms: Option<u64>,
    ) -> Wanted {
        Wanted { owner, scopes, limits: Limits::default(), origin, valid_ms }
    }
}

/// A token that was made or rotated.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// The token itself: it is not shown again.
    pub secret: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub token: TokenView,
}

/// What is shown of a token.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// What it is called.
    pub id: TokenId,
    /// Whose it is, as people read it.
    pub owner: String,
    /// Whose it is, as the ledger writes it.
    pub principal: Principal,
    /// What it may be used for at most.
    pub scopes: Scopes,
    /// How much it may be used.
    pub limits: Limits,
    /// By what it came to be.
    #[serde(default)]
    pub origin: TokenOrigin,
    /// `valid`, `revoked`, `expired`, or `maker_gone` if it was made by somebody who is gone: its
    /// owner can rotate it.
    pub state: String,
    /// Who else has known its text, as people read it: it allows no more than they may themselves.
    pub known_to: Vec<String>,
    /// When it was made, or last rotated, in milliseconds since 1970.
    pub issued_ms: u64,
    /// From when on it is not valid any more, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// Until when the one before the last rotation is valid, in milliseconds since 1970.
    pub earlier_until_ms: Option<u64>,
}

fn refused(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BadToken, error.to_string()).help("decalog token create --help")
}

fn no_such_token(id: TokenId) -> Problem {
    Problem::new(Code::NoSuchToken, format!("there is no token {id}"))
        .help("decalog token ls lists those that you may see")
}

/// Where a service must be able to look so that these scopes are of use: the projects that they
/// name.
fn reaches(scopes: &Scopes) -> Vec<Reach> {
    let named = scopes.iter().filter_map(|scope| match scope {
        Scope::Predict(Askable::Of { project, environment: Some(environment), .. }) => {
            Some(Reach::Environment(project.clone(), environment.clone()))
        }
        Scope::Predict(Askable::Of { project, environment: None, .. }) => {
            Some(Reach::Project(project.clone()))
        }
        _ => None,
    });
    let mut reaches: Vec<Reach> = named.collect();
    reaches.sort();
    reaches.dedup();
    reaches
}

fn new_secret(owner: &Principal) -> Result<Secret, Problem> {
    let kind = TokenKind::of(owner).ok_or_else(|| refused("Decalog itself has no tokens"))?;
    Secret::new(kind, &random::<RANDOM_BYTES>()?).map_err(refused)
}

impl Control {
    /// Makes a token. A service that nobody knows comes into being with it, with the right to ask
    /// what the scopes name.
    pub async fn create_token(
        self: &Arc<Control>,
        caller: &Caller,
        request: TokenRequest,
    ) -> Result<NewToken, Problem> {
        let TokenRequest { owner, scopes, limits, valid_ms } = request;
        let asker = Asker { principal: &caller.principal, groups: &[], scopes: caller.scopes() };
        may_make_token(asker, &scopes)
            .map_err(|error| Problem::new(Code::Forbidden, error.to_string()))?;
        let owner = match owner {
            None => caller.principal,
            Some(name) => self.token_owner(caller, &name, &scopes).await?,
        };
        if owner == Principal::LocalOwner {
            return Err(refused("the local owner has no tokens: they need none at the machine")
                .help("make one for a person or a service: decalog token create NAME …"));
        }
        let wanted = Wanted { limits, ..Wanted::new(owner, scopes, TokenOrigin::Made, valid_ms) };
        self.issue_token(caller, wanted).await
    }

    /// Makes a token as it is wanted, if the caller may.
    pub(crate) async fn issue_token(
        self: &Arc<Control>,
        caller: &Caller,
        wanted: Wanted,
    ) -> Result<NewToken, Problem> {
        let Wanted { owner, scopes, limits, origin, valid_ms } = wanted;
        let (secret, now_ms) = (new_secret(&owner)?, self.clock.now_ms());
        let (shared, known_to) = known_to(caller, &owner);
        let record = TokenRecord {
            id: TokenId(u32::from_le_bytes(random()?)),
            owner,
            digest: secret.digest(),
            scopes,
            limits,
            issued_ms: now_ms,
            expires_ms: valid_ms.map(|valid_ms| now_ms.saturating_add(valid_ms)),
            origin,
            passed_on_from: None,
            shared,
            known_to,
            earlier: None,
            revoked_ms: None,
        };
        record.validate(secret.kind()).map_err(refused)?;
        let (by, mut token) = (caller.clone(), record.clone());
        let decide = move |state: &State| {
            if state.access.tokens.contains_key(&token.id) {
                return Err(Problem::new(Code::Conflict, "the id of the token is taken"));
            }
            match token.origin {
                TokenOrigin::Made => {
                    permit_tokens_of(state, now_ms, &by, &token.owner, Some(&token.scopes))?;
                }
                // Whoever is let in gets no more than they came with.
                _ => check_token(&state.access, now_ms, &by)?,
            }
            let counts = |other: &&Arc<TokenRecord>| {
                other.origin.is_made() && other.status(&other.digest, now_ms) == TokenStatus::Valid
            };
            let is_full =
                || state.access.tokens_of(&token.owner).filter(counts).count() >= TOKENS_MAX;
            if token.origin.is_made() && is_full() {
                return Err(refused(format!("nobody has more than {TOKENS_MAX} valid tokens"))
                    .help("revoke some first: decalog token ls, decalog token revoke"));
            }
            cut_to(&mut token, made_with(state, &by));
            Ok(Event::TokenCreated { token: Box::new(token) })
        };
        let entry = self.state_store.append(&caller.principal, PLATFORM, decide).await?;
        match entry.event {
            Event::TokenCreated { token } => Ok(NewToken {
                secret: secret.reveal().into(),
                token: self.token_view(&token, now_ms),
            }),
            _ => Err(Problem::new(Code::Internal, "a token became another event")),
        }
    }

    /// Whom a token is for; a service comes into being if nobody has the name, and may look where
    /// the scopes are of use.
    async fn token_owner(
        self: &Arc<Control>,
        caller: &Caller,
        name: &str,
        scopes: &Scopes,
    ) -> Result<Principal, Problem> {
        let state = self.state();
        let now_ms = self.clock.now_ms();
        let known = self.principal_named(&state, name).ok();
        let is_service =
            |owner: &Principal| matches!(owner, Principal::Known(PrincipalKind::Service, _));
        if known.is_some_and(|owner| !is_service(&owner)) {
            return known.ok_or_else(|| refused("there is nobody of that name"));
        }
        let reaches = reaches(scopes);
        if known.is_none() && reaches.is_empty() {
            let text =
                format!("there is no service `{name}`, and the scopes name no project for one");
            return Err(Problem::new(Code::NoSuchMember, text).help(format!(
                "give it a role first: decalog member add {name} --service --role viewer --project …"
            )));
        }
        let wanted = |reach: &Reach| {
            !known.is_some_and(|owner| {
                let grants = policy::access::grants_of(&state.access, &owner);
                grants.iter().any(|grant| grant.reach.includes(reach))
            })
        };
        let missing: Vec<Reach> = reaches.into_iter().filter(wanted).collect();
        // All is looked at before anything is written.
        for reach in &missing {
            permit(&state, now_ms, caller, domain::Action::Token, &object_of(reach))?;
        }
        let owner = match known {
            Some(owner) => owner,
            None => self.add_principal(caller, PrincipalKind::Service, name, None).await?,
        };
        let Some(id) = owner.id() else { return Ok(owner) };
        for reach in missing {
            let grant = Grant { to: Grantee::Principal(id), role: Role::Viewer, reach };
            let by = caller.clone();
            let decide = move |state: &State| {
                permit_giving(state, now_ms, &by, std::slice::from_ref(&grant), true)?;
                Ok(Event::GrantGiven { grant, proposal: None })
            };
            self.state_store.append(&caller.principal, PLATFORM, decide).await?;
        }
        Ok(owner)
    }

    /// Gives a token another text; that of before stays valid for a time.
    pub async fn rotate_token(
        &self,
        caller: &Caller,
        id: TokenId,
        overlap_ms: u64,
    ) -> Result<NewToken, Problem> {
        let now_ms = self.clock.now_ms();
        let owner = self.visible_token(caller, id)?.owner;
        let secret = new_secret(&owner)?;
        let (by, digest, kind) = (caller.clone(), secret.digest(), secret.kind());
        let decide = move |state: &State| {
            let token = state.access.tokens.get(&id).ok_or_else(|| no_such_token(id))?;
            permit_tokens_of(state, now_ms, &by, &token.owner, Some(&token.scopes))?;
            // A token of few scopes does not become one of many in the hands of who rotates it.
            let asker = Asker { principal: &by.principal, groups: &[], scopes: by.scopes() };
            may_make_token(asker, &token.scopes)
                .map_err(|error| Problem::new(Code::Forbidden, error.to_string()))?;
            let mut rotated = token.rotated(digest, overlap_ms, now_ms).map_err(refused)?;
            (rotated.shared, rotated.known_to) = known_to(&by, &rotated.owner);
            // One that is rotated with itself goes on as it was.
            cut_to(&mut rotated, made_with(state, &by).filter(|with| with.id != id));
            rotated.validate(kind).map_err(refused)?;
            Ok(Event::TokenRotated { token: Box::new(rotated) })
        };
        let entry = self.state_store.append(&caller.principal, PLATFORM, decide).await?;
        match entry.event {
            Event::TokenRotated { token } => Ok(NewToken {
                secret: secret.reveal().into(),
                token: self.token_view(&token, now_ms),
            }),
            _ => Err(Problem::new(Code::Internal, "a rotation became another event")),
        }
    }

    /// Ends a token: within a second, also for what is on its way.
    pub async fn revoke_token(&self, caller: &Caller, id: TokenId) -> Result<(), Problem> {
        let now_ms = self.clock.now_ms();
        if self.visible_token(caller, id)?.revoked_ms.is_some() {
            return Ok(());
        }
        let by = caller.clone();
        let decide = move |state: &State| {
            let token = state.access.tokens.get(&id).ok_or_else(|| no_such_token(id))?;
            permit_tokens_of(state, now_ms, &by, &token.owner, None)?;
            Ok(Event::TokenRevoked { id })
        };
        self.state_store.append(&caller.principal, PLATFORM, decide).await.map(drop)
    }

    fn visible_token(&self, caller: &Caller, id: TokenId) -> Result<Arc<TokenRecord>, Problem> {
        let state = self.state();
        let token = state.access.tokens.get(&id).cloned().ok_or_else(|| no_such_token(id))?;
        match permit_tokens_of(&state, self.clock.now_ms(), caller, &token.owner, None) {
            Ok(()) => Ok(token),
            Err(_) => Err(no_such_token(id)),
        }
    }

    /// The caller's own tokens, and those of whom they may make tokens for; the newest first.
    pub fn tokens(&self, caller: &Caller) -> Vec<TokenView> {
        let (state, now_ms) = (self.state(), self.clock.now_ms());
        let is_visible = |token: &&Arc<TokenRecord>| {
            token.owner == caller.principal
                || permit_tokens_of(&state, now_ms, caller, &token.owner, None).is_ok()
        };
        let mut tokens: Vec<TokenView> = state
            .access
            .tokens
            .values()
            .filter(is_visible)
            .map(|token| self.token_view(token, now_ms))
            .collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.issued_ms));
        tokens
    }

    fn token_view(&self, token: &TokenRecord, now_ms: u64) -> TokenView {
        let state = self.state();
        let state = match token.status(&token.digest, now_ms) {
            TokenStatus::Revoked { .. } => "revoked",
            TokenStatus::Expired { .. } => "expired",
            _ if !token.known_to.iter().all(|other| state.access.is_known(other)) => "maker_gone",
            _ => "valid",
        };
        TokenView {
            id: token.id,
            owner: self.names.of(&token.owner).unwrap_or_else(|| token.owner.to_string()),
            principal: token.owner,
            scopes: token.scopes.clone(),
            limits: token.limits.clone(),
            origin: token.origin,
            state: state.into(),
            known_to: token.known_to.iter().map(|other| self.names.display(other)).collect(),
            issued_ms: token.issued_ms,
            expires_ms: token.expires_ms,
            earlier_until_ms: token
                .earlier
                .as_ref()
                .map(|earlier| earlier.until_ms)
                .filter(|until_ms| *until_ms > now_ms),
        }
    }

    /// Says whether predictions need a token wherever they come from.
    pub async fn require_tokens(&self, caller: &Caller, required: bool) -> Result<(), Problem> {
        let (by, now_ms) = (caller.clone(), self.clock.now_ms());
        if self.state().access.head.tokens_required == required {
            return self.permit(caller, domain::Action::Administer, &domain::Object::Platform);
        }
        let decide = move |state: &State| {
            permit(state, now_ms, &by, domain::Action::Administer, &domain::Object::Platform)?;
            Ok(Event::TokensRequired { required })
        };
        self.state_store.append(&caller.principal, PLATFORM, decide).await.map(drop)
    }
}

/// The token that a caller came with.
fn made_with<'a>(state: &'a State, caller: &Caller) -> Option<&'a Arc<TokenRecord>> {
    caller.token.as_ref().and_then(|token| state.access.tokens.get(&token.id))
}

/// What is made with a token ends no later than it, and may be used no more than it.
fn cut_to(token: &mut TokenRecord, made_with: Option<&Arc<TokenRecord>>) {
    let Some(made_with) = made_with else { return };
    token.limits = token.limits.within(&made_with.limits);
    token.expires_ms = token.expires_ms.into_iter().chain(made_with.expires_ms).min();
    if !token.origin.is_made() {
        token.passed_on_from = Some(made_with.root());
    }
}

/// Whether somebody other than its owner knows a token that this caller makes, and who. The owner
/// of the machine is above that at the machine, as above everything there, but not in a browser.
fn known_to(caller: &Caller, owner: &Principal) -> (bool, Vec<Principal>) {
    let is_at_the_machine = caller.principal == Principal::LocalOwner && caller.token.is_none();
    let is_own = caller.principal == *owner || is_at_the_machine;
    let maker = (!is_own).then_some(caller.principal);
    let mut known_to: Vec<Principal> = caller.known_to().iter().copied().chain(maker).collect();
    known_to.retain(|other| other != owner);
    known_to.sort();
    known_to.dedup();
    (!is_own || !caller.is_in_person(), known_to)
}

/// Fails if a caller may not make or end tokens of somebody: their own they may, and those of whom
/// they could give all that they have.
fn permit_tokens_of(
    state: &State,
    now_ms: u64,
    caller: &Caller,
    owner: &Principal,
    scopes: Option<&Scopes>,
) -> Result<(), Problem> {
    // The body may have been long on its way.
    check_token(&state.access, now_ms, caller)?;
    if caller.principal == *owner {
        // Whoever has known it makes no more of it than they could do themselves.
        for other in caller.known_to() {
            let other = Caller { principal: *other, token: None };
            permit_tokens_of(state, now_ms, &other, owner, scopes)?;
        }
        // What is done with a token needs the scope for it, also for one's own.
        return match caller.scopes().is_none_or(|scopes| scopes.include(&Scope::Admin)) {
            true => Ok(()),
            false => Err(Problem::new(Code::Forbidden, "the token lacks the scope admin")
                .help("use a token with it, or log in: decalog login")),
        };
    }
    let theirs = policy::access::grants_of(&state.access, owner);
    if theirs.is_empty() {
        return permit(state, now_ms, caller, domain::Action::Expel, &domain::Object::Platform);
    }
    let is_service = matches!(owner, Principal::Known(PrincipalKind::Service, _));
    // Who lets programs look and ask makes no token that can do more once the program may.
    let looks = scopes.is_none_or(|scopes| {
        scopes.iter().all(|scope| matches!(scope, Scope::Predict(_) | Scope::Read))
    });
    permit_giving(state, now_ms, caller, &theirs, is_service && looks)
}
