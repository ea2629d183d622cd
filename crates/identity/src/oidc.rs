//! Who somebody is by the word of others. A [`Provider`] is one that people log in with (OpenID
//! Connect: code flow with PKCE); [`Issuers`] are those whose tokens jobs bring along (GitHub
//! Actions, GitLab CI, Kubernetes). Both publish what they are and their keys below their issuer's
//! URL, which is read when it is needed and kept for a while.
//!
//! Calls block, and each has a limit: they are for a thread that may wait, beside the asynchronous
//! runtime. Nothing is asked that the operator did not name or that what he named does not name,
//! and no redirect is followed. What somebody shows is believed of nothing but its signature: a
//! header names no key but by `kid`, and no algorithm that is not one of that key.

mod address;
mod asking;
mod claims;
mod error;
mod issuers;
mod keys;
mod metadata;
mod provider;
mod source;
mod token;

#[cfg(test)]
mod tests;

pub use error::{Fault, OidcError};
pub use issuers::{Issuers, JobClaims};
pub use provider::{Begun, Login, Pending, Provider, ProviderConfig};
