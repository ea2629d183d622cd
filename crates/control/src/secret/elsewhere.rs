//! Keys that are not files of the data directory: one that was handed to this process, and one that
//! never leaves a vault.

use domain::Problem;
use vault::{TransitKey, Vault};

use super::key::{KeyId, KeyProvider, missing, unwrap_with, wrap_with};
use super::seal::SecretKey;

/// A key that the operator gave to this process.
pub struct GivenKey {
    name: String,
    id: KeyId,
    key: SecretKey,
}

impl GivenKey {
    /// Called so by `--secrets-key`.
    pub fn new(name: String, key: SecretKey) -> GivenKey {
        GivenKey { name, id: KeyId::of(&key), key }
    }
}

impl KeyProvider for GivenKey {
    fn name(&self) -> String {
        format!("credential:{}", self.name)
    }

    fn keys(&self) -> Result<Vec<KeyId>, Problem> {
        Ok(vec![self.id])
    }

    fn current(&self) -> Result<Option<KeyId>, Problem> {
        Ok(Some(self.id))
    }

    fn renew(&self) -> Result<KeyId, Problem> {
        Ok(self.id)
    }

    fn wrap(&self, _: KeyId, secret_keys: &[SecretKey]) -> Result<Vec<Vec<u8>>, Problem> {
        wrap_with(&self.key, secret_keys)
    }

    fn unwrap(&self, _: KeyId, wrapped: &[&[u8]]) -> Result<Vec<Option<SecretKey>>, Problem> {
        Ok(unwrap_with(&self.key, wrapped))
    }

    fn remove(&self, _: KeyId) -> Result<bool, Problem> {
        Ok(false)
    }
}

/// A key of a vault's transit engine. Its id does not hold the vault's address, which may change.
pub struct VaultKey {
    vault: Vault,
    key: TransitKey,
    id: KeyId,
}

impl VaultKey {
    /// A key of this vault.
    pub fn new(vault: Vault, key: TransitKey) -> VaultKey {
        let id = KeyId::of(format!("transit:{key}").as_bytes());
        VaultKey { vault, key, id }
    }

    fn check(&self, key: KeyId) -> Result<(), Problem> {
        if key == self.id { Ok(()) } else { Err(missing(key)) }
    }
}

impl KeyProvider for VaultKey {
    fn name(&self) -> String {
        format!("transit:{}/{}", self.vault.address(), self.key)
    }

    fn keys(&self) -> Result<Vec<KeyId>, Problem> {
        Ok(vec![self.id])
    }

    fn current(&self) -> Result<Option<KeyId>, Problem> {
        Ok(Some(self.id))
    }

    fn renew(&self) -> Result<KeyId, Problem> {
        Ok(self.id)
    }

    fn wrap(&self, key: KeyId, secret_keys: &[SecretKey]) -> Result<Vec<Vec<u8>>, Problem> {
        self.check(key)?;
        let plain: Vec<&[u8]> = secret_keys.iter().map(|key| key.as_slice()).collect();
        Ok(self.vault.wrap(&self.key, &plain)?.into_iter().map(String::into_bytes).collect())
    }

    fn unwrap(&self, key: KeyId, wrapped: &[&[u8]]) -> Result<Vec<Option<SecretKey>>, Problem> {
        self.check(key)?;
        // What is no text is nothing that a vault has wrapped.
        let texts: Vec<&str> = wrapped
            .iter()
            .map(|wrapped| std::str::from_utf8(wrapped).unwrap_or_default())
            .collect();
        let plain = self.vault.unwrap(&self.key, &texts)?;
        Ok(plain.into_iter().map(|plain| plain.and_then(|plain| plain.try_into().ok())).collect())
    }

    fn remove(&self, _: KeyId) -> Result<bool, Problem> {
        Ok(false)
    }
}
