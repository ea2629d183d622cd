//! Versions: what is pushed becomes one, or is one already.

use domain::digest::Hasher;
use domain::event::{Lock, VersionPushed};
use domain::manifest::Runtime;
use domain::provenance::{Parent, ParentWas};
use domain::{
    Action, Caller, Code, Digest, Event, Manifest, ModelKey, Object, Problem, Provenance,
    Signature, State, Tree, VersionNumber,
};
use engine::EngineError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Control;
use crate::access::permit;
use artifacts::{ArtifactError, Lease};

/// What is pushed, after its blobs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// Its files.
    pub tree: Tree,
    /// What decalog.toml says.
    #[serde(default)]
    pub manifest: Manifest,
    /// As written or inferred.
    pub runtime: Runtime,
    /// What holds the model.
    #[serde(default)]
    pub file: Option<String>,
    /// Where it comes from.
    #[serde(default)]
    pub provenance: Provenance,
    /// Under which name its blobs were asked for and uploaded: they are held for it until it is a
    /// version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
}

/// A version's identity.
fn digest(push: &Push, lock: Option<&Lock>) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(&push.tree.digest().0);
    hasher.field(&push.manifest.model_digest().0);
    hasher.field(push.runtime.to_string().as_bytes());
    hasher.field(push.file.as_deref().unwrap_or_default().as_bytes());
    hasher.field(&lock.map_or(Digest::ZERO, |lock| lock.digest).0);
    hasher.finish()
}

/// The version that a new one comes after: what is live where it was pushed for, else the newest.
fn parent(state: &State, key: &ModelKey, provenance: &Provenance) -> Option<Parent> {
    let model = state.models.get(key)?;
    let environment = provenance.environment.as_ref();
    let live = environment.and_then(|environment| model.live.get(environment));
    let live = live.map(|live| Parent { version: live.version, was: ParentWas::Live });
    let newest = || {
        let version = *model.versions.keys().next_back()?;
        Some(Parent { version, was: ParentWas::Newest })
    };
    live.or_else(newest)
}

impl Control {
    /// Makes a version of what was pushed, or finds the one that it is. `true` if it is new.
    pub async fn push(
        &self,
        caller: &Caller,
        key: &ModelKey,
        push: Push,
    ) -> Result<(VersionNumber, Digest, bool), Problem> {
        self.permit(caller, Action::Push, &Object::Model(key.clone()))?;
        push.manifest.validate().map_err(|error| {
            Problem::new(Code::BadManifest, error.to_string()).help("correct decalog.toml")
        })?;
        push.provenance.check().map_err(|wrong| {
            Problem::new(Code::BadRequest, wrong).help("send less of it, or shorter names")
        })?;
        if let Some(file) = push.file.as_ref().filter(|file| push.tree.get(file).is_none()) {
            return Err(Problem::new(
                Code::BadManifest,
                format!("the model file {file} is not in the tree"),
            )
            .help("set [model] file"));
        }
        let digests: Vec<Digest> = push.tree.files().iter().map(|file| file.digest).collect();
        // What is found to be here stays until it is a version's.
        let lease = self
            .store
            .leases()
            .hold(digests.iter().copied().chain([push.tree.digest()]).collect())
            .await;
        self.check_blobs(&push.tree, &digests).await?;
        let signature = self.signature_of(key, &push).await?;
        let lock = self.lock(key, &push, &lease).await?;
        let upload = push.upload.clone();
        let pushed = self.append_version(caller, key, push, lock, signature).await?;
        if let Some(upload) = upload {
            self.store.leases().release(&upload);
        }
        Ok(pushed)
    }

    /// Refuses a tree with files that are not in the store, or are not as long as it says.
    async fn check_blobs(&self, tree: &Tree, digests: &[Digest]) -> Result<(), Problem> {
        let sizes = self.store.sizes(digests).await.map_err(ArtifactError::problem)?;
        let mut missing = vec![];
        for (file, size) in tree.files().iter().zip(sizes) {
            match size {
                None => missing.push(format!("{}  {}", file.digest, file.path)),
                Some(found) if found != file.size => {
                    let (path, announced) = (file.path.clone(), file.size);
                    return Err(ArtifactError::WrongSize { path, announced, found }.problem());
                }
                Some(_) => {}
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(Problem::new(Code::MissingBlobs, "files of the tree are not uploaded")
            .details(missing)
            .help("upload them first"))
    }

    async fn append_version(
        &self,
        caller: &Caller,
        key: &ModelKey,
        push: Push,
        lock: Option<Lock>,
        signature: Option<Signature>,
    ) -> Result<(VersionNumber, Digest, bool), Problem> {
        let digest = digest(&push, lock.as_ref());
        if let Some(known) =
            self.state().models.get(key).and_then(|model| model.version_by_digest(digest))
        {
            return Ok((known.pushed.version, digest, false));
        }
        let (decide_key, by, now_ms) = (key.clone(), caller.clone(), self.clock.now_ms());
        let decide = move |state: &State| {
            permit(state, now_ms, &by, Action::Push, &Object::Model(decide_key.clone()))?;
            let model = state.models.get(&decide_key);
            if let Some(known) = model.and_then(|model| model.version_by_digest(digest)) {
                // Somebody else pushed the same in the meantime: that is not an error, and not a
                // second version.
                return Err(Problem::new(
                    Code::Conflict,
                    format!("{} has the same content", known.pushed.version),
                ));
            }
            let version = state.next_version(&decide_key);
            let Push { tree, manifest, runtime, file, provenance, .. } = push;
            let parent = parent(state, &decide_key, &provenance);
            let provenance = provenance.settled(parent);
            Ok(Event::VersionPushed(Box::new(VersionPushed {
                version,
                digest,
                tree,
                manifest,
                runtime,
                file,
                lock,
                provenance,
                signature,
            })))
        };
        match self.state_store.append(&caller.principal, &key.to_string(), decide).await {
            Ok(entry) => match entry.event {
                Event::VersionPushed(pushed) => Ok((pushed.version, digest, true)),
                _ => Err(Problem::new(Code::Internal, "a push became another event")),
            },
            Err(problem) => {
                let state = self.state();
                let known = state.models.get(key).and_then(|model| model.version_by_digest(digest));
                known.map(|known| (known.pushed.version, digest, false)).ok_or(problem)
            }
        }
    }

    /// The lock of a tree: the one of an earlier version while what it was resolved from is
    /// unchanged, else a new one.
    async fn lock(
        &self,
        key: &ModelKey,
        push: &Push,
        lease: &Lease,
    ) -> Result<Option<Lock>, Problem> {
        let inputs = self.engine.lock_inputs(&push.tree, push.file.as_deref()).await;
        let inputs = inputs.map_err(EngineError::problem)?;
        let state = self.state();
        let versions =
            state.models.get(key).into_iter().flat_map(|model| model.versions.values().rev());
        let mut locks = versions
            .filter(|version| version.pushed.runtime == push.runtime)
            .filter_map(|v| v.pushed.lock.as_ref());
        if let Some(lock) = locks.find(|lock| lock.inputs == inputs) {
            lease.add(&[lock.digest]).await;
            // A text that was lost is resolved again: that brings it back, unless the packages have
            // newer versions.
            if self.store.size(&lock.digest).await.map_err(ArtifactError::problem)?.is_some() {
                return Ok(Some(lock.clone()));
            }
        }
        let resolved = self
            .engine
            .resolve(&push.tree, push.runtime, push.file.as_deref())
            .await
            .map_err(EngineError::problem)?;
        let Some((mut lock, text)) = resolved else { return Ok(None) };
        lock.inputs = inputs;
        lease.add(&[lock.digest]).await;
        // The artifact of a lock is its text; its digest also covers the interpreter.
        self.store
            .put(engine::lock_artifact(&lock, &text))
            .await
            .map_err(ArtifactError::problem)?;
        Ok(Some(lock))
    }
}
