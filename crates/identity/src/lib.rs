//! TLS: this server's certificates, the handshakes with its callers, and what the certificates say
//! that callers show. And who somebody is by the word of others: logins by OpenID Connect, tokens
//! that platforms give to jobs. The only crate that knows the libraries for either.
//!
//! Time is an argument, in milliseconds since 1970 where its name does not say otherwise. What a
//! person must put right is a [`Problem`](domain::Problem).

mod authority;
mod caller;
mod facts;
mod keeper;
pub mod oidc;
mod pair;
mod tls;

use std::sync::{Arc, LazyLock};

use domain::{Code, Problem};
use rustls::crypto::CryptoProvider;

pub use caller::{is_unknown_server, pem, presented, system_authorities};
pub use keeper::Certificates;
pub use tls::{Accepted, Settings, Tls};

/// The one implementation of ciphers, named wherever one is wanted: two in one program could each
/// take the other for the default.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

fn problem(text: String) -> Problem {
    Problem::new(Code::Tls, text)
}
