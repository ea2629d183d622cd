//! Who may do what, as far as the ledger says: principals, roles, tokens, protected environments.
//! It holds no names and no token, only ids and digests.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::credential::{CertificateName, Credential};
use crate::digest::Digest;
use crate::event::{Entry, Event};
use crate::grant::{Grant, Grantee, GroupName};
use crate::id::{EnvironmentName, ProjectName};
use crate::principal::{Actor, Principal, PrincipalId};
use crate::proposal::{Approval, Proposal, ProposalEnd, Protection};
use crate::token::{TokenId, TokenOrigin, TokenRecord};
use crate::trust::TrustedKey;

/// A token that ended is forgotten after so long, in milliseconds: until then whoever uses it is
/// told why it is refused.
const ENDED_TOKEN_MS_MAX: u64 = 30 * 86_400_000;

/// A login that ended by itself is forgotten after so long, in milliseconds; one that somebody
/// ended at once.
const ENDED_LOGIN_MS_MAX: u64 = 86_400_000;
/// Logins of one kind that somebody has at most: the next takes the place of the oldest.
const LOGINS_MAX: usize = 64;
/// The same of a job, whose runs each have one.
const EXCHANGES_MAX: usize = 1_024;

/// Proposals that are over and are still shown.
const ENDED_PROPOSALS_MAX: usize = 32;

/// Who may do what. To copy it costs nothing.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Access {
    /// What is said once.
    pub head: AccessHead,
    /// Everybody who can have rights.
    pub principals: OrdMap<PrincipalId, Arc<KnownPrincipal>>,
    /// Who is known by a client certificate, by the name in it.
    #[serde(default)]
    pub certificates: OrdMap<CertificateName, Principal>,
    /// Roles, by who has them; never an empty list, and no two at one place.
    pub grants: OrdMap<Grantee, Arc<Vec<Grant>>>,
    /// Tokens, also those that ended not long ago.
    pub tokens: OrdMap<TokenId, Arc<TokenRecord>>,
    /// Which token a text belongs to, by its SHA-256: that of now and that before a rotation.
    pub digests: OrdMap<Digest, TokenId>,
    /// Changes that wait for approval, and those that ended not long ago, by number.
    pub proposals: OrdMap<u64, Arc<KnownProposal>>,
    /// What changes of environments need, by project and environment.
    pub protected: OrdMap<(ProjectName, EnvironmentName), Protection>,
    /// The keys whose signatures of models count, by project and id.
    #[serde(default)]
    pub trusted: OrdMap<(ProjectName, Digest), Arc<TrustedKey>>,
    /// The environments that take only versions with such a signature; always `true`.
    #[serde(default)]
    pub signed: OrdMap<(ProjectName, EnvironmentName), bool>,
}

/// What is said once of all access.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AccessHead {
    /// The last entry that changed any of it; 0 if none did.
    pub seq: u64,
    /// The entry from which on actors are proved.
    pub began_seq: Option<u64>,
    /// Whether predictions need a token wherever they come from.
    pub tokens_required: bool,
}

/// Somebody who can have rights.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KnownPrincipal {
    /// Who.
    pub principal: Principal,
    /// Who answers for it, if it is no person and somebody in particular does.
    pub person: Option<PrincipalId>,
    /// The groups that whoever logs them in named last.
    pub groups: Vec<GroupName>,
    /// When they logged in last, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged_in_ms: Option<u64>,
    /// By what they are known without a token of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
}

/// A proposal, and what it would change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KnownProposal {
    /// How far it is.
    pub proposal: Proposal,
    /// The subject of the change.
    pub subject: String,
    /// The change itself.
    pub change: Event,
}

impl Access {
    /// Who wrote an entry: proved only from the time on when it was asked for.
    pub fn actor(&self, seq: u64, text: &str) -> Actor {
        Actor::read(text, self.head.began_seq.is_some_and(|began| seq >= began))
    }

    /// The token that a text belongs to, by its SHA-256, whether it is valid or not.
    pub fn token(&self, digest: &Digest) -> Option<&Arc<TokenRecord>> {
        self.tokens.get(self.digests.get(digest)?)
    }

    /// Somebody, unless they are gone.
    pub fn known(&self, principal: &Principal) -> Option<&Arc<KnownPrincipal>> {
        self.principals.get(&principal.id()?)
    }

    /// Whether somebody can have rights at all: whoever owns the machine, and whoever is known.
    pub fn is_known(&self, principal: &Principal) -> bool {
        *principal == Principal::LocalOwner || self.known(principal).is_some()
    }

    /// The roles of somebody or of a group.
    pub fn grants_of(&self, to: &Grantee) -> &[Grant] {
        self.grants.get(to).map_or(&[], |grants| grants.as_slice())
    }

    /// All tokens of somebody.
    pub fn tokens_of<'a>(
        &'a self,
        owner: &'a Principal,
    ) -> impl Iterator<Item = &'a Arc<TokenRecord>> {
        self.tokens.values().filter(move |token| token.owner == *owner)
    }

    /// The keys that a project trusts, in the order of their ids.
    pub fn keys_of<'a>(
        &'a self,
        project: &'a ProjectName,
    ) -> impl Iterator<Item = &'a Arc<TrustedKey>> {
        let all = self.trusted.range((project.clone(), Digest::ZERO)..);
        all.take_while(move |((other, _), _)| other == project).map(|(_, key)| key)
    }

    /// Whether an environment takes only versions that are signed by a key which its project trusts.
    pub fn needs_signature(&self, project: &ProjectName, environment: &EnvironmentName) -> bool {
        self.signed.contains_key(&(project.clone(), environment.clone()))
    }

    pub(super) fn apply(&mut self, entry: &Entry) {
        if let Some(id) = entry.event.carries_out() {
            self.end_proposal(id, ProposalEnd::CarriedOut);
            self.head.seq = entry.seq;
        }
        match &entry.event {
            Event::AccessBegan {} => {
                self.head.began_seq.get_or_insert(entry.seq);
            }
            Event::PrincipalAdded { principal, person, credential } => {
                self.keep_principal(Arc::new(KnownPrincipal {
                    principal: *principal,
                    person: *person,
                    groups: vec![],
                    logged_in_ms: None,
                    credential: credential.as_deref().cloned(),
                }));
            }
            Event::PrincipalRemoved { principal } => self.forget(principal, entry.at_ms),
            Event::GroupsChanged { principal, groups } => {
                if let Some(known) = principal.id().and_then(|id| self.principals.get_mut(&id)) {
                    Arc::make_mut(known).groups = groups.clone();
                }
            }
            Event::GrantGiven { grant, .. } => self.give(grant),
            Event::GrantWithdrawn { grant } => self.withdraw(grant),
            Event::TokenCreated { token } => {
                self.forget_ended(entry.at_ms);
                self.make_room(token);
                self.keep_token(token);
                self.note_login(token, entry.at_ms);
            }
            Event::TokenRotated { token } => {
                self.forget_ended(entry.at_ms);
                self.keep_token(token);
                self.end_passed_on(token.id);
            }
            Event::TokenRevoked { id } => self.revoke(*id, entry.at_ms),
            Event::TokensRevoked {} => {
                let all: Vec<TokenId> = self.tokens.keys().copied().collect();
                all.into_iter().for_each(|id| self.revoke(id, entry.at_ms));
            }
            Event::TokensRequired { required } => self.head.tokens_required = *required,
            Event::EnvironmentProtected { environment, protection, .. } => {
                if let Ok(project) = entry.subject.parse() {
                    self.protected.insert((project, environment.clone()), *protection);
                }
            }
            Event::EnvironmentUnprotected { environment, .. } => {
                if let Ok(project) = entry.subject.parse() {
                    self.protected.remove(&(project, environment.clone()));
                }
            }
            Event::SignaturesRequired { environment, required, .. } => {
                if let Ok(project) = entry.subject.parse() {
                    let place = (project, environment.clone());
                    match required {
                        true => drop(self.signed.insert(place, true)),
                        false => drop(self.signed.remove(&place)),
                    }
                }
            }
            Event::TrustGiven { key, .. } => {
                if let Ok(project) = entry.subject.parse() {
                    self.trusted.insert((project, key.id), Arc::new(*key.clone()));
                }
            }
            Event::TrustWithdrawn { key, .. } => {
                if let Ok(project) = entry.subject.parse() {
                    self.trusted.remove(&(project, *key));
                }
            }
            Event::Proposed(proposed) => {
                let known = KnownProposal {
                    proposal: proposed.proposal(entry.seq, entry.at_ms),
                    subject: proposed.subject.clone(),
                    change: proposed.change.clone(),
                };
                self.proposals.insert(entry.seq, Arc::new(known));
                self.forget_proposals(entry.at_ms);
            }
            Event::ProposalApproved { proposal, by } => {
                if let Some(known) = self.proposals.get_mut(proposal) {
                    let approval = Approval { by: *by, at_ms: entry.at_ms };
                    Arc::make_mut(known).proposal.approvals.push(approval);
                }
            }
            Event::ProposalRejected { proposal, by, .. } => {
                let known = self.proposals.get(proposal);
                let end = match known.is_some_and(|known| known.proposal.proposer == *by) {
                    true => ProposalEnd::Withdrawn,
                    false => ProposalEnd::Rejected { by: *by },
                };
                self.end_proposal(*proposal, end);
            }
            _ => return,
        }
        self.head.seq = entry.seq;
    }

    fn end_proposal(&mut self, id: u64, end: ProposalEnd) {
        if let Some(known) = self.proposals.get_mut(&id) {
            Arc::make_mut(known).proposal.end.get_or_insert(end);
        }
    }

    /// Of proposals that ended or ran out, the newest few are kept.
    fn forget_proposals(&mut self, now_ms: u64) {
        let is_over = |known: &KnownProposal| {
            known.proposal.end.is_some() || known.proposal.expires_ms() <= now_ms
        };
        let over: Vec<u64> =
            self.proposals.iter().filter(|(_, known)| is_over(known)).map(|(id, _)| *id).collect();
        let old = over.len().saturating_sub(ENDED_PROPOSALS_MAX);
        over.into_iter().take(old).for_each(|id| drop(self.proposals.remove(&id)));
    }

    /// Takes somebody in, also as a part of a snapshot.
    pub(crate) fn keep_principal(&mut self, known: Arc<KnownPrincipal>) {
        let Some(id) = known.principal.id() else { return };
        if let Some(Credential::Certificate(name)) = &known.credential {
            self.certificates.insert(name.clone(), known.principal);
        }
        self.principals.insert(id, known);
    }

    fn note_login(&mut self, token: &TokenRecord, at_ms: u64) {
        // What is passed on proves nothing anew.
        let is_login = !token.origin.is_made() && token.passed_on_from.is_none();
        let owner = token.owner.id().filter(|_| is_login);
        if let Some(known) = owner.and_then(|id| self.principals.get_mut(&id)) {
            Arc::make_mut(known).logged_in_ms = Some(at_ms);
        }
    }

    /// Takes a token in as it is from now on, also as a part of a snapshot.
    pub(crate) fn keep_token(&mut self, token: &TokenRecord) {
        self.drop_token(token.id);
        self.digests.insert(token.digest, token.id);
        if let Some(earlier) = &token.earlier {
            self.digests.insert(earlier.digest, token.id);
        }
        self.tokens.insert(token.id, Arc::new(token.clone()));
    }

    /// Of logins of one kind the newest few are kept.
    fn make_room(&mut self, token: &TokenRecord) {
        let max = match token.origin {
            TokenOrigin::Made => return,
            TokenOrigin::Exchange => EXCHANGES_MAX,
            TokenOrigin::Login | TokenOrigin::Session => LOGINS_MAX,
        };
        let theirs = self.tokens_of(&token.owner).filter(|other| other.origin == token.origin);
        let mut theirs: Vec<(u64, TokenId)> =
            theirs.map(|other| (other.issued_ms, other.id)).collect();
        theirs.sort_unstable();
        let surplus = (theirs.len() + 1).saturating_sub(max);
        theirs.into_iter().take(surplus).for_each(|(_, id)| self.drop_token(id));
    }

    /// Ends what was passed on from a token.
    fn end_passed_on(&mut self, id: TokenId) {
        let passed_on = self.tokens.values().filter(|token| token.passed_on_from == Some(id));
        let passed_on: Vec<TokenId> = passed_on.map(|token| token.id).collect();
        passed_on.into_iter().for_each(|id| self.drop_token(id));
    }

    fn drop_token(&mut self, id: TokenId) {
        let Some(token) = self.tokens.remove(&id) else { return };
        self.digests.remove(&token.digest);
        if let Some(earlier) = &token.earlier {
            self.digests.remove(&earlier.digest);
        }
    }

    fn revoke(&mut self, id: TokenId, at_ms: u64) {
        self.end_passed_on(id);
        match self.tokens.get_mut(&id) {
            Some(token) if token.origin.is_made() => {
                Arc::make_mut(token).revoked_ms.get_or_insert(at_ms);
            }
            // Logins come and go: those that are over are not kept.
            _ => self.drop_token(id),
        }
    }

    /// Tokens of jobs are made again and again: what ended long ago goes when another comes.
    fn forget_ended(&mut self, now_ms: u64) {
        let ended_ms = |token: &TokenRecord| token.revoked_ms.or(token.expires_ms);
        let is_old = |token: &&Arc<TokenRecord>| {
            let kept_ms =
                if token.origin.is_made() { ENDED_TOKEN_MS_MAX } else { ENDED_LOGIN_MS_MAX };
            ended_ms(token).is_some_and(|ms| ms.saturating_add(kept_ms) < now_ms)
        };
        let old: Vec<TokenId> = self.tokens.values().filter(is_old).map(|token| token.id).collect();
        old.into_iter().for_each(|id| self.drop_token(id));
    }

    fn forget(&mut self, principal: &Principal, at_ms: u64) {
        let Some(id) = principal.id() else { return };
        let known = self.principals.remove(&id);
        if let Some(Credential::Certificate(name)) = known.and_then(|it| it.credential.clone()) {
            self.certificates.remove(&name);
        }
        self.grants.remove(&Grantee::Principal(id));
        let theirs: Vec<TokenId> = self.tokens_of(principal).map(|token| token.id).collect();
        theirs.into_iter().for_each(|id| self.revoke(id, at_ms));
    }

    fn give(&mut self, grant: &Grant) {
        let grants = Arc::make_mut(self.grants.entry(grant.to.clone()).or_default());
        grants.retain(|other| other.reach != grant.reach);
        grants.push(grant.clone());
        grants.sort();
    }

    fn withdraw(&mut self, grant: &Grant) {
        let Some(grants) = self.grants.get_mut(&grant.to) else { return };
        let grants = Arc::make_mut(grants);
        grants.retain(|other| other != grant);
        if grants.is_empty() {
            self.grants.remove(&grant.to);
        }
    }
}

#[cfg(test)]
mod tests;
