//! Members: who has which role where. People and services get roles here; what they log in with is
//! a token, or an identity provider.

use std::sync::Arc;

use domain::event::PLATFORM;
use domain::token::TokenStatus;
use domain::{
    Action, Caller, Code, Credential, Event, Grant, Grantee, GroupName, Object, Principal,
    PrincipalId, PrincipalKind, Problem, Reach, Role, State, TokenId, TokenRecord,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Control;
use crate::access::{check_token, permit, permit_proposing};
use crate::names::{check_name, nobody_called};
use crate::random::random;

/// A role to be given.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberRequest {
    /// Who: a name. Whoever is not known yet is added.
    pub name: String,
    /// What somebody new is; of somebody who is known it must be what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MemberKind>,
    /// What they may do.
    pub role: Role,
    /// Where: everywhere if unsaid.
    #[serde(default = "everywhere", rename = "in")]
    pub reach: Reach,
    /// By what a new job or certificate is known: tokens of its platform, or a name in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
}

/// What a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// A human being.
    Person,
    /// A program.
    Service,
    /// A run of a pipeline, known by the tokens of its platform.
    Job,
    /// Whoever shows a client certificate.
    Certificate,
    /// Everybody in a group of the identity provider.
    Group,
}

/// Somebody who has roles, or could have.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// As people read it.
    pub name: String,
    /// What they are.
    pub kind: MemberKind,
    /// As the ledger writes it; a group has none.
    pub principal: Option<Principal>,
    /// By what they are known without a token of this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// Their own roles; those by groups are the groups'.
    pub grants: Vec<Grant>,
}

fn everywhere() -> Reach {
    Reach::Everything
}

/// The object that a role holds for.
pub(crate) fn object_of(reach: &Reach) -> Object {
    match reach {
        Reach::Everything => Object::Platform,
        Reach::Project(project) => Object::Project(project.clone()),
        Reach::Environment(project, environment) => {
            Object::Environment(project.clone(), environment.clone())
        }
    }
}

/// What it is to give a role: a program may be let in to look and to ask by whoever makes tokens.
fn action_of(grant: &Grant, to_service: bool) -> Action {
    match to_service && grant.role == Role::Viewer {
        true => Action::Token,
        false => Action::Member,
    }
}

/// Fails if a caller could not give somebody all of these roles. Whoever could may also make and
/// take away their tokens.
pub(crate) fn permit_giving(
    state: &State,
    now_ms: u64,
    caller: &Caller,
    grants: &[Grant],
    to_service: bool,
) -> Result<(), Problem> {
    for grant in grants {
        // What has to be approved is proposed where it is appended.
        let (action, object) = (action_of(grant, to_service), object_of(&grant.reach));
        permit_proposing(state, now_ms, caller, action, &object)?;
    }
    Ok(())
}

impl Control {
    /// Gives somebody a role, in place of the one that they had there; adds them if nobody has that
    /// name.
    pub async fn add_member(
        self: &Arc<Control>,
        caller: &Caller,
        request: MemberRequest,
    ) -> Result<Member, Problem> {
        let MemberRequest { name, kind, role, reach, credential } = request;
        check_credential(kind, credential.as_ref())?;
        let is_service = kind == Some(MemberKind::Service);
        let trial = |to| Grant { to, role, reach: reach.clone() };
        if kind == Some(MemberKind::Group) {
            let group = GroupName::try_from(name.clone())
                .map_err(|error| Problem::new(Code::BadName, error.to_string()))?;
            let grant = trial(Grantee::Group(group));
            self.give(caller, grant.clone(), false).await?;
            return Ok(Member {
                name,
                kind: MemberKind::Group,
                principal: None,
                credential: None,
                grants: vec![grant],
            });
        }
        // Before anybody is added, so that who may not give roles adds nobody.
        let state = self.state();
        let nobody = trial(Grantee::Principal(PrincipalId([0; 8])));
        permit_giving(&state, self.clock.now_ms(), caller, &[nobody], is_service)?;
        let principal = match self.principal_named(&state, &name) {
            Ok(principal) => principal,
            Err(_) => {
                let kind = match kind {
                    Some(MemberKind::Service) => PrincipalKind::Service,
                    Some(MemberKind::Job) => PrincipalKind::Job,
                    Some(MemberKind::Certificate) => PrincipalKind::Certificate,
                    _ => PrincipalKind::Person,
                };
                if matches!(kind, PrincipalKind::Job | PrincipalKind::Certificate)
                    && credential.is_none()
                {
                    let text = format!("nothing says by what {name} is known");
                    return Err(Problem::new(Code::BadRequest, text)
                        .help("decalog member add --help shows examples"));
                }
                if credential.is_some() {
                    // One that is known in one project is not known any more in another, if both
                    // could be meant.
                    self.permit_proposing(caller, Action::Member, &Object::Platform)?;
                }
                self.add_principal(caller, kind, &name, credential.clone()).await?
            }
        };
        let is = member_kind(&principal);
        // Whoever says nothing means a person: a program of that name may be in other hands.
        if kind.unwrap_or(MemberKind::Person) != is {
            let is = is.as_str();
            return Err(Problem::new(Code::BadRequest, format!("`{name}` is a {is} already"))
                .help(format!("choose another name, or say --{is} if that one is meant")));
        }
        let known = self.state().access.known(&principal).and_then(|it| it.credential.clone());
        if credential.is_some() && credential != known {
            let text = format!("`{name}` is known by another credential");
            return Err(Problem::new(Code::Conflict, text).help(format!(
                "choose another name, or remove it first: decalog member rm {name}"
            )));
        }
        let Some(id) = principal.id() else {
            return Err(Problem::new(Code::BadName, format!("`{name}` has all roles already")));
        };
        self.give(caller, trial(Grantee::Principal(id)), is == MemberKind::Service).await?;
        Ok(self.member(&self.state(), &principal))
    }

    async fn give(&self, caller: &Caller, grant: Grant, to_service: bool) -> Result<(), Problem> {
        if self.state().access.grants_of(&grant.to).contains(&grant) {
            return Ok(());
        }
        let object = object_of(&grant.reach);
        let (action, given) = (action_of(&grant, to_service), grant.clone());
        // To let a program look is less than to take a higher role from it.
        let action = move |state: &State| {
            let now = state.access.grants_of(&given.to).iter();
            let is_lower =
                now.filter(|other| other.reach == given.reach).any(|other| other.role > given.role);
            if is_lower { Action::Member } else { action }
        };
        let decide = move |_: &State| Ok(Event::GrantGiven { grant, proposal: None });
        self.change(caller, PLATFORM, object, action, decide).await.map(drop)
    }

    /// Makes somebody known under a name, without any role. That the caller may is decided before.
    pub(crate) async fn add_principal(
        self: &Arc<Control>,
        caller: &Caller,
        kind: PrincipalKind,
        name: &str,
        credential: Option<Credential>,
    ) -> Result<Principal, Problem> {
        check_name(name)?;
        if kind != PrincipalKind::Person && name.contains('@') {
            let text = format!("`{name}` could be the name of a person at an identity provider");
            return Err(
                Problem::new(Code::BadName, text).help("give programs names without @, as in shop")
            );
        }
        let principal = Principal::Known(kind, PrincipalId(random()?));
        let control = self.clone();
        let is_known = move |other: &Principal| control.state().access.known(other).is_some();
        let claim = self.names.claim(principal, name, is_known).await?;
        let person = caller.principal.person().filter(|_| kind != PrincipalKind::Person);
        let credential = credential.map(Box::new);
        let event = Event::PrincipalAdded { principal, person, credential };
        let (by, now_ms) = (caller.clone(), self.clock.now_ms());
        let decide = move |state: &State| {
            check_token(&state.access, now_ms, &by)?;
            check_unknown(state, &event)?;
            Ok(event)
        };
        let added = self.state_store.append(&caller.principal, PLATFORM, decide).await;
        if let Err(problem) = added {
            // An append that failed half-way may have been written after all.
            if self.state().access.known(&principal).is_none() {
                self.names.erase(principal).await?;
            }
            return Err(problem);
        }
        drop(claim);
        Ok(principal)
    }

    /// Takes a role away, or all roles of somebody, who is gone then, with their tokens. Gives the
    /// tokens of others that end with it, as they have known them.
    pub async fn remove_member(
        &self,
        caller: &Caller,
        name: &str,
        kind: Option<MemberKind>,
        reach: Option<Reach>,
    ) -> Result<Vec<TokenId>, Problem> {
        let state = self.state();
        let to = self.grantee_named(&state, caller, name, kind)?;
        let theirs = state.access.grants_of(&to).to_vec();
        let taken: Vec<Grant> = match &reach {
            None => theirs.clone(),
            Some(reach) => theirs.iter().filter(|grant| grant.reach == *reach).cloned().collect(),
        };
        if let (Some(reach), true) = (&reach, taken.is_empty()) {
            let text = format!("`{name}` has no role in {}", reach.display());
            return Err(Problem::new(Code::NoSuchMember, text).help("decalog member ls"));
        }
        let now_ms = self.clock.now_ms();
        let principal = match (&to, reach) {
            (Grantee::Principal(_), None) => Some(self.principal_named(&state, name)?),
            _ => None,
        };
        let by = caller.clone();
        if let Some(principal) = principal {
            let decide = move |state: &State| {
                for grant in state.access.grants_of(&to) {
                    permit(state, now_ms, &by, Action::Expel, &object_of(&grant.reach))?;
                }
                if state.access.grants_of(&to).is_empty() {
                    permit(state, now_ms, &by, Action::Expel, &Object::Platform)?;
                }
                Ok(Event::PrincipalRemoved { principal })
            };
            self.state_store.append(&caller.principal, PLATFORM, decide).await?;
            let is_theirs = |token: &&Arc<TokenRecord>| {
                token.known_to.contains(&principal)
                    && token.status(&token.digest, now_ms) == TokenStatus::Valid
            };
            let ended = state.access.tokens.values().filter(is_theirs).map(|token| token.id);
            return Ok(ended.collect());
        }
        for grant in taken {
            let by = by.clone();
            let decide = move |state: &State| {
                permit(state, now_ms, &by, Action::Expel, &object_of(&grant.reach))?;
                Ok(Event::GrantWithdrawn { grant })
            };
            self.state_store.append(&caller.principal, PLATFORM, decide).await?;
        }
        Ok(vec![])
    }

    /// Removes somebody, and forgets for ever who they were. Every entry stays as it is.
    pub async fn erase_person(&self, caller: &Caller, name: &str) -> Result<Principal, Problem> {
        self.permit(caller, Action::Administer, &Object::Platform)?;
        let state = self.state();
        let named = self.names.find(name).or_else(|| name.parse().ok());
        let principal = named.filter(|principal| self.names.of(principal).is_some());
        let principal = principal.ok_or_else(|| {
            Problem::new(Code::NoSuchMember, "no name like this is kept, or it is erased already")
                .help("decalog member ls lists everybody")
        })?;
        if state.access.known(&principal).is_some() {
            let (by, now_ms) = (caller.clone(), self.clock.now_ms());
            let decide = move |state: &State| {
                permit(state, now_ms, &by, Action::Administer, &Object::Platform)?;
                Ok(Event::PrincipalRemoved { principal })
            };
            self.state_store.append(&caller.principal, PLATFORM, decide).await?;
        }
        self.names.erase(principal).await?;
        Ok(principal)
    }

    /// Who is meant by a name, of those about whom the caller decides anything: of others they learn
    /// nothing. A group may be called like somebody: then it has to be said which is meant.
    fn grantee_named(
        &self,
        state: &State,
        caller: &Caller,
        name: &str,
        kind: Option<MemberKind>,
    ) -> Result<Grantee, Problem> {
        let sees_all = self.permit(caller, Action::Expel, &Object::Platform).is_ok();
        let decides = |grant: &Grant| {
            self.permit_proposing(caller, Action::Expel, &object_of(&grant.reach)).is_ok()
        };
        let is_seen = |to: &Grantee| sees_all || state.access.grants_of(to).iter().any(decides);
        let somebody = self.principal_named(state, name).ok();
        let somebody = somebody.filter(|found| kind.is_none_or(|kind| kind == member_kind(found)));
        let somebody = somebody.and_then(|found| found.id().map(Grantee::Principal));
        let somebody = somebody.filter(is_seen);
        let group = GroupName::try_from(name.to_string()).ok().map(Grantee::Group);
        let group = group.filter(|group| !state.access.grants_of(group).is_empty());
        let group = group.filter(|_| kind.is_none_or(|kind| kind == MemberKind::Group));
        match (somebody, group.filter(is_seen)) {
            (Some(_), Some(_)) => Err(Problem::new(
                Code::Conflict,
                format!("`{name}` is somebody and a group as well"),
            )
            .help("say which is meant: --group, --person or --service")),
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (None, None) => Err(nobody_called(name)),
        }
    }

    fn member(&self, state: &State, principal: &Principal) -> Member {
        let to = principal.id().map(Grantee::Principal);
        Member {
            name: self.names.of(principal).unwrap_or_else(|| principal.to_string()),
            kind: member_kind(principal),
            principal: Some(*principal),
            credential: state.access.known(principal).and_then(|it| it.credential.clone()),
            grants: to.map_or(vec![], |to| state.access.grants_of(&to).to_vec()),
        }
    }

    /// Everybody with a role in what the caller decides about, by name.
    pub fn members(&self, caller: &Caller) -> Vec<Member> {
        let state = self.state();
        let may_know = |reach: &Reach| {
            self.permit_proposing(caller, Action::Member, &object_of(reach)).is_ok()
        };
        let is_own = |member: &Member| member.principal == Some(caller.principal);
        let known = state.access.principals.values();
        let groups = state.access.grants.iter().filter_map(|(to, grants)| match to {
            Grantee::Group(group) => Some(Member {
                name: group.as_str().into(),
                kind: MemberKind::Group,
                principal: None,
                credential: None,
                grants: grants.to_vec(),
            }),
            Grantee::Principal(_) => None,
        });
        let all = known.map(|known| self.member(&state, &known.principal)).chain(groups);
        let is_all = may_know(&Reach::Everything);
        let mut members: Vec<Member> = all
            .filter_map(|mut member| {
                if is_all || is_own(&member) {
                    return Some(member);
                }
                member.grants.retain(|grant| may_know(&grant.reach));
                (!member.grants.is_empty()).then_some(member)
            })
            .collect();
        members.sort_by(|left, right| left.name.cmp(&right.name));
        members
    }
}

fn member_kind(principal: &Principal) -> MemberKind {
    match principal {
        Principal::Known(PrincipalKind::Service, _) => MemberKind::Service,
        Principal::Known(PrincipalKind::Job, _) => MemberKind::Job,
        Principal::Known(PrincipalKind::Certificate, _) => MemberKind::Certificate,
        _ => MemberKind::Person,
    }
}

impl MemberKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            MemberKind::Person => "person",
            MemberKind::Service => "service",
            MemberKind::Job => "job",
            MemberKind::Certificate => "certificate",
            MemberKind::Group => "group",
        }
    }
}

/// Fails if a member of this kind cannot be known by this.
fn check_credential(
    kind: Option<MemberKind>,
    credential: Option<&Credential>,
) -> Result<(), Problem> {
    let refused = |text: String| {
        Problem::new(Code::BadRequest, text).help("decalog member add --help shows examples")
    };
    let Some(credential) = credential else { return Ok(()) };
    credential.validate().map_err(|error| refused(error.to_string()))?;
    let is_of = match credential {
        Credential::JobToken { .. } => MemberKind::Job,
        Credential::Certificate(_) => MemberKind::Certificate,
    };
    if kind != Some(is_of) {
        let text = format!("only a {} is known by such a credential", is_of.as_str());
        return Err(refused(text));
    }
    Ok(())
}

/// Fails if somebody else is known by the same credential already.
fn check_unknown(state: &State, added: &Event) -> Result<(), Problem> {
    let Event::PrincipalAdded { credential: Some(credential), .. } = added else { return Ok(()) };
    let known = state.access.principals.values();
    match known.into_iter().find(|it| it.credential.as_ref() == Some(credential)) {
        None => Ok(()),
        Some(_) => Err(Problem::new(Code::Conflict, "somebody else is known by this credential")
            .help("decalog member ls shows by what each is known")),
    }
}
