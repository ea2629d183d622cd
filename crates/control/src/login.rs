//! Logins: whom an identity provider, a job's platform or a link of this server lets in, and the
//! token that they get for a while. What they may do is for their roles to say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::event::PLATFORM;
use domain::state::Access;
use domain::token::JOB_MS_MAX;
use domain::{
    Caller, Code, Credential, Event, Grantee, GroupName, Principal, PrincipalKind, Problem, Scopes,
    State, TokenOrigin,
};

use crate::Control;
use crate::names::check_name;
use crate::token::{NewToken, Wanted};

/// The most groups of somebody that are taken over from an identity provider.
const GROUPS_MAX: usize = 256;
/// Logins of one principal in a minute.
const LOGINS_MINUTE_MAX: u32 = 60;
/// Groups count for so long after the last login, in milliseconds: 30 days. Nobody tells when
/// somebody has left one.
const GROUPS_MS_MAX: u64 = 30 * 86_400_000;
/// How often that is looked at, in milliseconds.
const GROUPS_LOOK_MS: u64 = 3_600_000;

/// What an identity provider says of somebody who logged in there.
#[derive(Clone, Debug)]
pub struct PersonLogin {
    /// Who says it.
    pub issuer: String,
    /// By what it knows them, for ever.
    pub subject: String,
    /// What they are called: nobody else there is.
    pub name: String,
    /// All groups that they are in.
    pub groups: Vec<String>,
}

fn has_no_role(name: &str) -> Problem {
    Problem::new(Code::Forbidden, format!("`{name}` has no role on this server"))
        .help(format!("an owner gives one: decalog member add {name} --role viewer --project …"))
}

fn is_another(name: &str) -> Problem {
    Problem::new(Code::Forbidden, format!("`{name}` is somebody else on this server"))
        .help("an owner who knows that it is the same removes them first: decalog member rm")
}

/// Fails for programs: they have tokens and no logins.
pub fn check_person(caller: &Caller) -> Result<(), Problem> {
    match caller.principal == Principal::LocalOwner || caller.principal.person().is_some() {
        true => Ok(()),
        false => Err(Problem::new(Code::Forbidden, "only people log in")
            .help("programs use their tokens: decalog token create")),
    }
}

/// The groups of somebody; if they are too many, those that have roles here come first.
fn groups_of(access: &Access, login: &PersonLogin) -> Vec<GroupName> {
    let named = login.groups.iter().filter_map(|name| GroupName::try_from(name.clone()).ok());
    let mut groups: Vec<GroupName> = named.collect();
    groups.sort();
    groups.dedup();
    groups.sort_by_key(|group| access.grants_of(&Grantee::Group(group.clone())).is_empty());
    groups.truncate(GROUPS_MAX);
    groups.sort();
    groups
}

impl Control {
    /// Who it is that an identity provider has let in: by its subject, or at first by the name that
    /// they were given a role under. Whoever has no role, by themselves or by a group, is nobody.
    pub async fn person_of(self: &Arc<Control>, login: &PersonLogin) -> Result<Principal, Problem> {
        let PersonLogin { issuer, subject, name, .. } = login;
        check_name(name)?;
        let groups = groups_of(&self.state().access, login);
        let known = self.names.identity(issuer, subject).await?;
        let known = known.filter(|it| self.state().access.known(it).is_some());
        let person = match known {
            Some(person) => {
                self.rename(person, name).await;
                person
            }
            None => {
                let person = self.person_by_name(name, &groups).await?;
                if !self.names.link(issuer, subject, person).await? {
                    return Err(is_another(name));
                }
                person
            }
        };
        self.put_in_groups(person, groups).await?;
        match policy::access::grants_of(&self.state().access, &person).is_empty() {
            true => Err(has_no_role(name)),
            false => Ok(person),
        }
    }

    async fn person_by_name(
        self: &Arc<Control>,
        name: &str,
        groups: &[GroupName],
    ) -> Result<Principal, Problem> {
        let state = self.state();
        let is_known = |it: &Principal| state.access.known(it).is_some();
        if let Some(named) = self.names.find_known(name, is_known) {
            return match named.person() {
                None => Err(is_another(name)),
                Some(_) => Ok(named),
            };
        }
        let has_role =
            |group: &GroupName| !state.access.grants_of(&Grantee::Group(group.clone())).is_empty();
        match groups.iter().any(has_role) {
            true => self.add_principal(&Caller::PLATFORM, PrincipalKind::Person, name, None).await,
            false => Err(has_no_role(name)),
        }
    }

    /// Follows a name that has changed at the provider, unless somebody else has it here.
    async fn rename(&self, person: Principal, name: &str) {
        if self.names.of(&person).as_deref() != Some(name)
            && let Err(problem) = self.names.rename(person, name).await
        {
            // Names are erased; a log is not.
            tracing::warn!("{person} keeps the name of before: {}", problem.code.as_str());
        }
    }

    async fn put_in_groups(
        &self,
        person: Principal,
        groups: Vec<GroupName>,
    ) -> Result<(), Problem> {
        let is_same =
            |state: &State| state.access.known(&person).is_some_and(|known| known.groups == groups);
        if is_same(&self.state()) {
            return Ok(());
        }
        let event = Event::GroupsChanged { principal: person, groups };
        self.state_store.append(&Principal::Platform, PLATFORM, move |_| Ok(event)).await.map(drop)
    }

    /// Looks after groups that nobody has confirmed for long.
    pub(crate) async fn forget_groups_forever(self: Arc<Control>) {
        loop {
            self.is_active().await;
            self.forget_groups().await;
            tokio::time::sleep(Duration::from_millis(GROUPS_LOOK_MS)).await;
        }
    }

    /// Takes those out of their groups who have not logged in for long.
    async fn forget_groups(&self) {
        let (state, now_ms) = (self.state(), self.clock.now_ms());
        let is_old = |at_ms: Option<u64>| {
            at_ms.is_none_or(|at_ms| at_ms.saturating_add(GROUPS_MS_MAX) < now_ms)
        };
        let old = state.access.principals.values();
        for known in old.filter(|known| !known.groups.is_empty() && is_old(known.logged_in_ms)) {
            if let Err(problem) = self.put_in_groups(known.principal, vec![]).await {
                tracing::warn!("the groups of {} cannot be changed: {problem}", known.principal);
            }
        }
    }

    /// What somebody gets who has just proved who they are in another way.
    pub async fn begin_login(
        self: &Arc<Control>,
        person: Principal,
        origin: TokenOrigin,
        valid_ms: u64,
    ) -> Result<NewToken, Problem> {
        self.count_login(person)?;
        let by = Caller { principal: person, token: None };
        let wanted = Wanted::new(person, Scopes::all(), origin, Some(valid_ms));
        self.issue_token(&by, wanted).await
    }

    /// What somebody gets for another place where they are, as a browser beside a terminal: all
    /// that they have here, for no longer than they have it.
    pub async fn pass_login_on(
        self: &Arc<Control>,
        caller: &Caller,
        origin: TokenOrigin,
        valid_ms: u64,
    ) -> Result<NewToken, Problem> {
        check_person(caller)?;
        self.count_login(caller.principal)?;
        let scopes = caller.scopes().cloned().unwrap_or_else(Scopes::all);
        let wanted = Wanted::new(caller.principal, scopes, origin, Some(valid_ms));
        self.issue_token(caller, wanted).await
    }

    /// Each login is an entry of the ledger, for ever: nobody fills it by logging in and out.
    fn count_login(&self, principal: Principal) -> Result<(), Problem> {
        let minute = self.clock.now_ms() / 60_000;
        let mut logins = self.logins.lock();
        logins.retain(|_, (of, _)| *of == minute);
        let (_, count) = logins.entry(principal).or_insert((minute, 0));
        *count += 1;
        match *count > LOGINS_MINUTE_MAX {
            false => Ok(()),
            true => {
                let text = format!("more than {LOGINS_MINUTE_MAX} logins in a minute");
                let mut problem = Problem::new(Code::TokenLimit, text)
                    .help("keep the token of a login, and use it again");
                problem.retry_after_s = Some(60);
                Err(problem)
            }
        }
    }

    /// Whether any job is known by tokens of this issuer: others are not asked for their keys.
    pub fn has_jobs_of(&self, issuer: &str) -> bool {
        let state = self.state();
        let mut credentials =
            state.access.principals.values().filter_map(|known| known.credential.as_ref());
        credentials.any(|credential| credential.issuer() == Some(issuer))
    }

    /// What a job gets for its platform's token, whose claims these are; they were verified.
    pub async fn exchange(
        self: &Arc<Control>,
        issuer: &str,
        claims: &BTreeMap<String, String>,
    ) -> Result<NewToken, Problem> {
        let state = self.state();
        let is_met = |credential: &Option<Credential>| {
            credential.as_ref().is_some_and(|credential| credential.is_met_by(issuer, claims))
        };
        let mut found = state.access.principals.values().filter(|it| is_met(&it.credential));
        let refused = |text: &str| {
            Err(Problem::new(Code::Unauthenticated, text)
                .help("an owner says which job is meant: decalog member add NAME --job --claim …"))
        };
        match (found.next(), found.next()) {
            (None, _) => refused("the token is of no job that this server knows"),
            (Some(_), Some(_)) => refused("the token fits several jobs of this server"),
            (Some(job), None) => {
                self.begin_login(job.principal, TokenOrigin::Exchange, JOB_MS_MAX).await
            }
        }
    }

    /// Ends the login that a caller came with; `false` if it was none, but a token that somebody
    /// made and may use elsewhere.
    pub async fn end_login(&self, caller: &Caller) -> Result<bool, Problem> {
        let Some(token) = &caller.token else { return Ok(false) };
        let state = self.state();
        let is_login = state.access.tokens.get(&token.id).is_some_and(|it| !it.origin.is_made());
        if is_login {
            let id = token.id;
            let decide = move |_: &State| Ok(Event::TokenRevoked { id });
            self.state_store.append(&caller.principal, PLATFORM, decide).await?;
        }
        Ok(is_login)
    }
}
