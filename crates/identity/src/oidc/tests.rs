//! Logins and tokens, with providers that are real servers with real keys on this machine, and with
//! what somebody who wants in would send.

mod logins;
mod platform;
mod providers;
mod tokens;

use super::{Fault, Issuers, JobClaims, OidcError};

/// Now, in seconds since 1970.
const NOW_S: u64 = 1_800_000_000;
/// Who tokens are for.
const AUDIENCE: &str = "decalog";
