//! Authentication: who logs in, on both sides of the proxy.
//!
//! Owns the plugins' arithmetic, [`ClientAuth`] (the proxy as server) and [`BackendAuth`] (the proxy as
//! client). Never stores a password beyond a login, never draws random bytes for a scramble: they are given.

mod backend;
mod client;
mod ed25519;
mod pem;
mod rsa;
mod scramble;

use std::fmt;

pub use backend::{BackendAuth, BackendAuthError, BackendStep, Login};
pub use client::{ClientAuth, ClientAuthSettings, ClientStep, Credential, Refusal};
pub use ed25519::ed25519_response;
pub use rsa::{ProxyKey, RsaError, encrypt_password};
pub use scramble::{
    SCRAMBLE_LENGTH, caching_sha2_response, native_response, scramble_from_seed, verify_caching_sha2,
    verify_native,
};

/// A password. It is not shown when printed for debugging.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Password(pub Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}

/// A way to prove a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plugin {
    /// `mysql_native_password`: SHA-1 with a scramble.
    Native,
    /// `caching_sha2_password`: SHA-256 with a scramble, and the password itself when the server does not
    /// have it in its cache.
    CachingSha2,
    /// `sha256_password`: the password itself, over TLS or encrypted.
    Sha256,
    /// `mysql_clear_password`: the password itself.
    Clear,
    /// MariaDB's `client_ed25519`: a signature.
    Ed25519,
}

impl Plugin {
    const ALL: [Self; 5] = [Self::Native, Self::CachingSha2, Self::Sha256, Self::Clear, Self::Ed25519];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Sha256 => "sha256_password",
            Self::Clear => "mysql_clear_password",
            Self::Ed25519 => "client_ed25519",
        }
    }

    /// The plugin with this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|plugin| plugin.name().as_bytes() == name)
    }
}

#[cfg(test)]
mod tests;
