//! What goes wrong when somebody else is to say who is there. No text holds a secret, a code or a
//! token; what others wrote is repeated only as far as an error repeats an input.

/// Whom it is up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Who configured the provider, here or there.
    Configuration,
    /// The provider, or the way there: it may be well again later.
    Provider,
    /// Who shows the token or comes back from the provider.
    Caller,
}

/// What was wrong; [`OidcError::help`] says what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OidcError {
    /// The URL of an issuer is not one that may be asked.
    #[error("`{issuer}` cannot be an issuer: {why}")]
    Issuer {
        /// As configured.
        issuer: String,
        /// What is wrong with it.
        why: String,
    },
    /// Another part of what was configured cannot work.
    #[error("the provider {issuer} cannot be used as configured: {why}")]
    Configuration {
        /// Whose configuration.
        issuer: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file of authorities cannot be used.
    #[error("the authorities in {file} cannot be used: {why}")]
    Roots {
        /// Its path.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The provider says that this client is not one of its own.
    #[error("the provider {issuer} does not accept this client: {error}")]
    Client {
        /// Who says so.
        issuer: String,
        /// The code of its error.
        error: String,
    },
    /// What was wanted of the provider says something else than its configuration here.
    #[error("the provider at {issuer} calls itself `{itself}`")]
    OtherIssuer {
        /// As configured.
        issuer: String,
        /// As in its own document.
        itself: String,
    },
    /// Nobody answers, or not in time.
    #[error("{issuer} does not answer: {why}")]
    Unreachable {
        /// Who was asked.
        issuer: String,
        /// What happened.
        why: String,
    },
    /// Its certificate is of nobody whom this machine trusts.
    #[error("{issuer} cannot prove that it is itself: {why}")]
    Untrusted {
        /// Who was asked.
        issuer: String,
        /// What is wrong with its certificate.
        why: String,
    },
    /// What it answers makes no sense.
    #[error("{issuer} gives an answer that cannot be used: {why}")]
    Answer {
        /// Who was asked.
        issuer: String,
        /// What is wrong with it.
        why: String,
    },
    /// What came back with the browser comes from another provider.
    #[error("the answer to the login is not from {issuer}")]
    Mixed {
        /// Who was asked.
        issuer: String,
    },
    /// The provider does not take the code that came back with the browser.
    #[error("{issuer} does not take the code of this login: {why}")]
    Code {
        /// Who was asked.
        issuer: String,
        /// What is wrong with it.
        why: String,
    },
    /// What it gives for the code says nothing that can be believed.
    #[error("{issuer} gives a token that does not hold: {why}")]
    Token {
        /// Who gave it.
        issuer: String,
        /// What is wrong with it.
        why: Box<OidcError>,
    },
    /// It is not a signed token.
    #[error("this is not a token: {0}")]
    Malformed(&'static str),
    /// It is signed in a way that proves nothing here.
    #[error("the token is signed by `{0}`")]
    Algorithm(String),
    /// Its issuer has no such key.
    #[error("the token is signed by a key that {issuer} does not publish")]
    Key {
        /// Who should have it.
        issuer: String,
    },
    /// Its signature is not one of its issuer's key.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It is of somebody else.
    #[error("the token is of another issuer than {issuer}")]
    TokenIssuer {
        /// Who was meant.
        issuer: String,
    },
    /// It is for somebody else.
    #[error("the token is not for `{audience}`")]
    Audience {
        /// Who we are.
        audience: String,
    },
    /// It is for several, and given to another of them.
    #[error("the token is for several audiences, and not given to `{audience}`")]
    Party {
        /// Who we are.
        audience: String,
    },
    /// It is too old.
    #[error("the token expired {ago_s} s ago")]
    Expired {
        /// How long ago, in seconds.
        ago_s: u64,
    },
    /// It is not valid yet.
    #[error("the token is not valid before {in_s} s from now")]
    NotYet {
        /// How long until then, in seconds.
        in_s: u64,
    },
    /// It answers another login.
    #[error("the token answers another login")]
    Nonce,
    /// The provider does not say what the login's name is taken from.
    #[error("the provider says no `{claim}` of who logs in")]
    NoName {
        /// The claim.
        claim: String,
    },
    /// It says one that cannot be a name.
    #[error("what the provider says as `{claim}` of who logs in cannot be a name: {why}")]
    Name {
        /// The claim.
        claim: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It does not vouch for the address.
    #[error("the provider does not say that the e-mail address of who logs in is verified")]
    Unverified,
    /// It says groups that cannot be taken.
    #[error("what the provider says as `{claim}` of who logs in cannot be taken as groups: {why}")]
    Groups {
        /// The claim.
        claim: String,
        /// What is wrong with it.
        why: String,
    },
    /// It leaves the groups out because they are too many.
    #[error("who logs in is in more groups than the provider puts into a token")]
    Overage,
}

impl OidcError {
    /// Whom it is up to.
    pub fn fault(&self) -> Fault {
        use OidcError::*;
        match self {
            Issuer { .. } | Configuration { .. } | Roots { .. } | Client { .. } => {
                Fault::Configuration
            }
            NoName { .. } | Name { .. } | Groups { .. } | Overage => Fault::Configuration,
            OtherIssuer { .. } | Unreachable { .. } | Untrusted { .. } => Fault::Provider,
            Answer { .. } | Token { .. } => Fault::Provider,
            Mixed { .. } | Code { .. } | Malformed(_) | Algorithm(_) | Key { .. } | Signature => {
                Fault::Caller
            }
            TokenIssuer { .. } | Audience { .. } | Party { .. } | Expired { .. } => Fault::Caller,
            NotYet { .. } | Nonce | Unverified => Fault::Caller,
        }
    }

    /// What to do.
    pub fn help(&self) -> &'static str {
        use OidcError::*;
        match self {
            Issuer { .. } => "write https://HOST/PATH, as the provider's documentation gives it",
            Configuration { .. } => "put the configuration of the provider right",
            Roots { .. } => "name a file that holds certificates in PEM",
            Client { .. } => "compare the client's id and secret with what the provider has",
            OtherIssuer { .. } => "configure the issuer exactly as the provider calls itself",
            Unreachable { .. } => "see whether it runs and this machine reaches it; then try again",
            Untrusted { .. } => {
                "name the file with the certificate of its authority; or set the clock right"
            }
            Token { why, .. } => match **why {
                Expired { .. } | NotYet { .. } => "set the clocks right, here and at the provider",
                Algorithm(_) => why.help(),
                _ => "compare the issuer and the client's id with what the provider has",
            },
            Answer { .. } => {
                "see whether the URL is the issuer's; then look into the provider's log"
            }
            Mixed { .. } | Code { .. } | Nonce => "log in again",
            Malformed(_) => "send the token as the platform gave it, whole",
            Algorithm(_) => {
                "have tokens signed by RS256, PS256, ES256, ES384 or EdDSA, or another RS or PS"
            }
            Key { .. } => {
                "see whether it is the platform's own token; if its keys are new, try again"
            }
            Signature => "send the token as the platform gave it, and configure its own issuer",
            TokenIssuer { .. } => "configure the issuer exactly as `iss` of the token has it",
            Audience { .. } => "ask the platform for a token whose audience is this one",
            Party { .. } => "ask the platform for a token with this audience alone",
            Expired { .. } => "get a new token; if it is new, set the clocks right",
            NotYet { .. } => "set the clocks right, here and at the issuer",
            NoName { .. } | Name { .. } => {
                "have the provider give that claim, ask for its scope, or configure another claim"
            }
            Unverified => {
                "verify it with the provider, or configure another claim for names than `email`"
            }
            Groups { .. } => {
                "have the provider give a list of names, only of groups that matter here"
            }
            Overage => {
                "have the provider give only the groups that are assigned to this application"
            }
        }
    }
}
