//! Changes: each is decided and appended in one step, on the newest state. Where the environment is
//! protected, a proposal is appended in its place; once enough people have agreed, the change that
//! they agreed to, and no other.

use std::sync::Arc;

use domain::proposal::{Binding, ProposalEnd};
use domain::state::{Access, KnownProposal};
use domain::{
    Action, Caller, Code, Digest, Entry, Event, ModelKey, Object, Party, Principal, Problem,
    Proposal, Proposed, Protection, State, VersionNumber,
};
use policy::access::{
    Decision, Readiness, approvals_needed, caller_may, check_approval, check_rejection, may,
    protection_of, readiness,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Control;
use crate::access::{check_token, permit, permit_proposing, refusal};

/// The most proposals of one principal that wait at a time.
const OPEN_PROPOSALS_MAX: usize = 32;
/// The longest reason, in characters.
const WHY_CHARS_MAX: usize = 500;

/// A proposal as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProposalView {
    /// Its number.
    pub id: u64,
    /// What is to be done.
    pub action: Action,
    /// With what.
    pub object: Object,
    /// The change itself, as it will be written.
    pub change: Event,
    /// What would be removed, version by version: something else is another proposal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removes: Vec<RemovedVersion>,
    /// Who proposed it.
    pub proposer: String,
    /// Who pushed the version that is to go live, if it is about one and that is known.
    pub pusher: Option<String>,
    /// Who agreed.
    pub approvers: Vec<String>,
    /// When it was proposed, in milliseconds since 1970.
    pub at_ms: u64,
    /// From when on nothing more can be done with it, in milliseconds since 1970.
    pub expires_ms: u64,
    /// Whether it can still be approved.
    pub open: bool,
    /// What it waits for, or how it ended.
    pub says: String,
}

/// A version that would be removed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RemovedVersion {
    /// Its number.
    pub version: VersionNumber,
    /// Of all its files.
    pub digest: Digest,
}

/// Pages of proposals.
#[derive(Clone, Copy, Debug)]
pub struct ProposalPage {
    /// Only those with a lower number.
    pub before: Option<u64>,
    /// Only those that can still be approved.
    pub is_open: bool,
    /// The most of them.
    pub limit: usize,
}

/// Whoever asks, and the human being behind them; nobody in particular with a token that somebody
/// else has known.
fn party_of(access: &Access, caller: &Caller) -> Party {
    match caller.is_in_person() {
        true => party(access, &caller.principal),
        false => Party { principal: caller.principal, person: None },
    }
}

/// Somebody, and the human being behind them.
fn party(access: &Access, principal: &Principal) -> Party {
    let answers = || access.known(principal).and_then(|known| known.person);
    Party { principal: *principal, person: principal.person().or_else(answers) }
}

/// What a change would be approved for.
fn binding(state: &State, object: &Object, change: &Event) -> Binding {
    let revision = match object {
        Object::ModelIn(key, environment) => state.revision_of(key, environment),
        Object::Environment(project, environment) => {
            state.variables_at(project, None, environment).map_or(0, |variables| variables.revision)
        }
        _ => 0,
    };
    let versions = crate::removal::versions_of(state, object, change);
    let version = match versions.as_slice() {
        [] => None,
        [(_, digest)] => Some(*digest),
        several => {
            let lines: Vec<String> =
                several.iter().map(|(version, digest)| format!("{version} {digest}\n")).collect();
            Some(Digest::of(lines.concat().as_bytes()))
        }
    };
    let whole = [change.kind().as_bytes(), b"\n", &change.body()].concat();
    Binding { version, revision, change: Digest::of(&whole) }
}

/// Who pushed the version that a change takes live, if that was proved.
fn pusher(state: &State, object: &Object, change: &Event) -> Option<Party> {
    let Event::DeployStarted { version, .. } = change else { return None };
    let version = state.models.get(object.model()?)?.versions.get(version)?;
    let actor = state.access.actor(version.seq, &version.actor);
    actor.principal().map(|principal| party(&state.access, principal))
}

fn no_such_proposal(id: u64) -> Problem {
    Problem::new(Code::NoSuchProposal, format!("there is no proposal {id}"))
        .help("decalog proposals lists those that you may see")
}

/// What has come of a change that somebody asked for.
fn proposed(entry: &Entry, proposed: &Proposed, access: &Access) -> Problem {
    let protection = protection_of(access, proposed.action, &proposed.object);
    let needed =
        approvals_needed(protection.unwrap_or(Protection { approvals: 1 }), &proposed.proposer);
    let people = if needed == 1 { "somebody else".into() } else { format!("{needed} others") };
    Problem::new(
        Code::Proposed,
        format!(
            "{} of {} is proposed as {}: {people} must approve it within 7 days",
            proposed.action, proposed.object, entry.seq
        ),
    )
    .help(format!("decalog approve {0}, by whoever may; decalog proposals {0} shows it", entry.seq))
}

impl Control {
    /// Appends what somebody asks for, if they may do it; where it needs approval, a proposal, and
    /// says so. `action` is what it really is, and `decide` what is appended.
    pub(crate) async fn change(
        &self,
        caller: &Caller,
        subject: &str,
        object: Object,
        action: impl FnOnce(&State) -> Action + Send + 'static,
        decide: impl FnOnce(&State) -> Result<Event, Problem> + Send + 'static,
    ) -> Result<Entry, Problem> {
        let (by, now_ms, subject) = (caller.clone(), self.clock.now_ms(), subject.to_string());
        let decide = move |state: &State| {
            check_token(&state.access, now_ms, &by)?;
            let action = action(state);
            let decision = caller_may(&state.access, &by, action, &object);
            if !matches!(decision, Decision::Proposal { .. }) {
                refusal(decision, action, &object)?;
                return Ok((subject, decide(state)?));
            }
            let change = decide(state)?;
            let open = state.access.proposals.values().filter(|known| {
                let proposal = &known.proposal;
                proposal.end.is_none()
                    && now_ms < proposal.expires_ms()
                    && proposal.proposer.principal == by.principal
            });
            if open.count() >= OPEN_PROPOSALS_MAX {
                let text = format!("you have {OPEN_PROPOSALS_MAX} proposals that wait already");
                return Err(Problem::new(Code::NotApproved, text)
                    .help("take some back first: decalog proposals, decalog reject"));
            }
            let project =
                object.project().map_or(domain::event::PLATFORM, |project| project.as_str());
            let proposed = Proposed {
                action,
                binding: binding(state, &object, &change),
                proposer: party_of(&state.access, &by),
                pusher: pusher(state, &object, &change),
                subject,
                change,
                object: object.clone(),
            };
            Ok((project.to_string(), Event::Proposed(Box::new(proposed))))
        };
        let entry = self.state_store.append_to(&caller.principal, decide).await?;
        match &entry.event {
            Event::Proposed(wanted) => Err(proposed(&entry, wanted, &self.state().access)),
            _ => Ok(entry),
        }
    }

    /// Agrees to a proposal. Gives what became of it: it is carried out with the last approval.
    pub async fn approve(
        self: &Arc<Control>,
        caller: &Caller,
        id: u64,
    ) -> Result<ProposalView, Problem> {
        let (by, now_ms) = (caller.clone(), self.clock.now_ms());
        let decide = move |state: &State| {
            let known = visible(state, now_ms, &by, id)?;
            let proposal = &known.proposal;
            permit_proposing(state, now_ms, &by, proposal.action, &proposal.object)?;
            let party = party_of(&state.access, &by);
            check_approval(proposal, &party, now_ms)
                .map_err(|error| Problem::new(Code::NotApproved, error.to_string()))?;
            Ok((subject_of(proposal), Event::ProposalApproved { proposal: id, by: party }))
        };
        self.state_store.append_to(&caller.principal, decide).await?;
        self.carry_out_proposal(id).await?;
        self.proposal(caller, id)
    }

    /// Ends a proposal: whoever proposed it takes it back, others reject it.
    pub async fn reject(
        &self,
        caller: &Caller,
        id: u64,
        why: &str,
    ) -> Result<ProposalView, Problem> {
        let (by, now_ms) = (caller.clone(), self.clock.now_ms());
        let why: String = why.chars().filter(|c| !c.is_control()).take(WHY_CHARS_MAX).collect();
        let decide = move |state: &State| {
            let proposal = &visible(state, now_ms, &by, id)?.proposal;
            if proposal.proposer.principal != by.principal {
                permit_proposing(state, now_ms, &by, proposal.action, &proposal.object)?;
            }
            let party = party_of(&state.access, &by);
            check_rejection(proposal, &party, now_ms)
                .map_err(|error| Problem::new(Code::NotApproved, error.to_string()))?;
            Ok((subject_of(proposal), Event::ProposalRejected { proposal: id, by: party, why }))
        };
        self.state_store.append_to(&caller.principal, decide).await?;
        self.proposal(caller, id)
    }

    /// Carries a proposal out if enough people have agreed, as whoever proposed it; else nothing
    /// happens. Whoever agreed in vain is told why.
    async fn carry_out_proposal(self: &Arc<Control>, id: u64) -> Result<(), Problem> {
        let result = self.try_to_carry_out(id).await;
        // The reconciler may have been first.
        let state = self.state();
        let end = state.access.proposals.get(&id).and_then(|known| known.proposal.end);
        if end == Some(ProposalEnd::CarriedOut) { Ok(()) } else { result }
    }

    async fn try_to_carry_out(self: &Arc<Control>, id: u64) -> Result<(), Problem> {
        let state = self.state();
        let Some(known) = state.access.proposals.get(&id) else { return Ok(()) };
        let now_ms = self.clock.now_ms();
        match ready(&state, known, now_ms)? {
            Readiness::Waits(policy::access::Waits::Approvals(_)) => return Ok(()),
            Readiness::Waits(waits) => {
                return Err(Problem::new(Code::NotApproved, waits.to_string()));
            }
            Readiness::Ready { .. } => {}
        }
        let decide = move |state: &State| {
            let known = state.access.proposals.get(&id).ok_or_else(|| no_such_proposal(id))?;
            match ready(state, known, now_ms)? {
                Readiness::Ready { .. } => {
                    Ok((known.subject.clone(), again(state, known)?.carrying_out(id)))
                }
                Readiness::Waits(waits) => Err(Problem::new(Code::NotApproved, waits.to_string())),
            }
        };
        let actor = known.proposal.proposer.principal;
        let entry = self.state_store.append_to(&actor, decide).await?;
        if let (Event::DeployStarted { environment, .. }, Ok(key)) =
            (&entry.event, ModelKey::try_from(entry.subject.clone()))
        {
            self.drive(&key, environment);
        }
        self.work.notify_one();
        Ok(())
    }

    /// Carries out what was agreed to and not done yet: the process ended in between.
    pub(crate) async fn carry_out_agreed(self: &Arc<Control>) {
        let state = self.state();
        let open = state.access.proposals.values().filter(|known| known.proposal.end.is_none());
        for known in open {
            if let Err(problem) = self.carry_out_proposal(known.proposal.id).await {
                tracing::debug!("proposal {}: {problem}", known.proposal.id);
            }
        }
    }

    /// One proposal.
    pub fn proposal(&self, caller: &Caller, id: u64) -> Result<ProposalView, Problem> {
        let (state, now_ms) = (self.state(), self.clock.now_ms());
        let known = visible(&state, now_ms, caller, id)?;
        Ok(self.view_of_proposal(&state, known, now_ms))
    }

    /// Those that a caller may see; the newest first. Also whether there are more.
    pub fn proposals(&self, caller: &Caller, page: ProposalPage) -> (Vec<ProposalView>, bool) {
        let (state, now_ms) = (self.state(), self.clock.now_ms());
        let is_open = |known: &KnownProposal| {
            known.proposal.end.is_none() && now_ms < known.proposal.expires_ms()
        };
        let all = state.access.proposals.range(..page.before.unwrap_or(u64::MAX)).rev();
        let mut some = all
            .filter(|(_, known)| !page.is_open || is_open(known))
            .filter(|(id, _)| visible(&state, now_ms, caller, **id).is_ok());
        let shown = some.by_ref().take(page.limit);
        let shown = shown.map(|(_, known)| self.view_of_proposal(&state, known, now_ms)).collect();
        (shown, some.next().is_some())
    }

    fn view_of_proposal(&self, state: &State, known: &KnownProposal, now_ms: u64) -> ProposalView {
        let KnownProposal { proposal, change, .. } = known;
        let name = |party: &Party| self.names.display(&party.principal);
        let waits = match ready(state, known, now_ms) {
            Ok(Readiness::Waits(waits)) => waits.to_string(),
            Ok(Readiness::Ready { .. }) => "it is about to be carried out".into(),
            Err(problem) => problem.message,
        };
        let says = match &proposal.end {
            Some(ProposalEnd::CarriedOut) => "carried out".into(),
            Some(ProposalEnd::Rejected { by }) => format!("rejected by {}", name(by)),
            Some(ProposalEnd::Withdrawn) => "withdrawn".into(),
            None => waits,
        };
        ProposalView {
            id: proposal.id,
            action: proposal.action,
            object: proposal.object.clone(),
            change: change.clone(),
            removes: self.removed_by(state, known),
            proposer: name(&proposal.proposer),
            pusher: proposal.pusher.as_ref().map(name),
            approvers: proposal.approvals.iter().map(|approval| name(&approval.by)).collect(),
            at_ms: proposal.at_ms,
            expires_ms: proposal.expires_ms(),
            open: proposal.end.is_none() && now_ms < proposal.expires_ms(),
            says,
        }
    }

    /// What a proposal would remove, as long as that is what was proposed.
    fn removed_by(&self, state: &State, known: &KnownProposal) -> Vec<RemovedVersion> {
        let (object, change) = (&known.proposal.object, &known.change);
        let is_removal =
            matches!(change, Event::VersionRemoved { .. } | Event::ModelRemoved { .. });
        if !is_removal || binding(state, object, change) != known.proposal.binding {
            return vec![];
        }
        let versions = crate::removal::versions_of(state, object, change);
        versions.into_iter().map(|(version, digest)| RemovedVersion { version, digest }).collect()
    }

    /// Says how many must approve changes of an environment; none if nobody must.
    pub async fn protect(
        &self,
        caller: &Caller,
        project: domain::ProjectName,
        environment: domain::EnvironmentName,
        approvals: u32,
    ) -> Result<(), Problem> {
        let object = Object::Environment(project.clone(), environment.clone());
        if approvals > domain::proposal::APPROVALS_MAX {
            let text =
                format!("at most {} approvals can be asked for", domain::proposal::APPROVALS_MAX);
            return Err(Problem::new(Code::BadRequest, text));
        }
        let place = object.clone();
        let decide = move |state: &State| {
            if approvals == 0 {
                return Ok(Event::EnvironmentUnprotected { environment, proposal: None });
            }
            let protection = Protection { approvals };
            let people = people_of(&state.access, &place);
            if !policy::access::protection_can_be_met(protection, people) {
                let text = format!(
                    "changes would wait for ever: {people} may release there, and {approvals} \
                     beside the one who proposes must approve"
                );
                return Err(Problem::new(Code::BadRequest, text)
                    .help("give more people the role of a deployer first: decalog member add"));
            }
            Ok(Event::EnvironmentProtected { environment, protection, proposal: None })
        };
        self.change(caller, project.as_str(), object, |_| Action::Protect, decide).await.map(drop)
    }
}

/// How many people could propose or approve a release at a place.
fn people_of(access: &Access, place: &Object) -> usize {
    let people = access.principals.values().filter(|known| known.principal.person().is_some());
    people
        .filter(|known| may(access, &known.principal, None, Action::Release, place).may_propose())
        .count()
}

/// The subject that what befalls a proposal is written under.
fn subject_of(proposal: &Proposal) -> String {
    proposal.object.project().map_or(domain::event::PLATFORM.into(), ToString::to_string)
}

/// A proposal, if a caller may see what it is about.
fn visible<'a>(
    state: &'a State,
    now_ms: u64,
    caller: &Caller,
    id: u64,
) -> Result<&'a Arc<KnownProposal>, Problem> {
    let known = state.access.proposals.get(&id).ok_or_else(|| no_such_proposal(id))?;
    // A role in one environment shows nothing of what is planned in another.
    let object = &known.proposal.object;
    let seen = match (object.project(), object.environment()) {
        (Some(project), Some(environment)) => {
            Object::Environment(project.clone(), environment.clone())
        }
        (Some(project), None) => Object::Project(project.clone()),
        (None, _) => Object::Platform,
    };
    permit(state, now_ms, caller, Action::Read, &seen).map_err(|problem| match problem.code {
        Code::Unauthenticated => problem,
        _ => no_such_proposal(id),
    })?;
    Ok(known)
}

/// Whether a proposal can be carried out now.
fn ready(state: &State, known: &KnownProposal, now_ms: u64) -> Result<Readiness, Problem> {
    let KnownProposal { proposal, change, .. } = known;
    let access = &state.access;
    let could = |principal: &Principal| {
        may(access, principal, None, proposal.action, &proposal.object).may_propose()
    };
    let protection = protection_of(access, proposal.action, &proposal.object);
    let protection = protection.unwrap_or(Protection { approvals: 1 });
    let now = binding(state, &proposal.object, change);
    let may_still = |person| could(&Principal::Known(domain::PrincipalKind::Person, person));
    let readiness = readiness(proposal, protection, &now, now_ms, may_still);
    if matches!(readiness, Readiness::Ready { .. }) && !could(&proposal.proposer.principal) {
        return Err(Problem::new(
            Code::NotApproved,
            "whoever proposed it may not do it any more: somebody else has to propose it",
        ));
    }
    Ok(readiness)
}

/// The change that was agreed to, if it would be decided so again.
fn again(state: &State, known: &KnownProposal) -> Result<Event, Problem> {
    let key = ModelKey::try_from(known.subject.clone()).ok();
    let change = match (&known.change, key) {
        (Event::DeployStarted { version, environment, plan, configuration, .. }, Some(key)) => {
            let configuration = configuration.as_deref().cloned();
            crate::release::started(
                state,
                &key,
                *version,
                environment,
                plan.clone(),
                configuration,
            )?
        }
        (Event::VersionRemoved { version, .. }, Some(key)) => {
            crate::removal::version_removed(state, &key, *version)?
        }
        (Event::ModelRemoved { .. }, Some(key)) => crate::removal::model_removed(state, &key)?,
        (other, _) => other.clone(),
    };
    match change == known.change {
        true => Ok(change),
        false => Err(Problem::new(
            Code::NotApproved,
            "the change would be another now than what was approved: propose it again",
        )),
    }
}
