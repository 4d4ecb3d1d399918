//! RSA, by which a password travels without TLS.
//!
//! Owns the proxy's key and the layout of what is encrypted: the password and a zero byte, XORed with the
//! scramble, under OAEP with SHA-1. MySQL protocol: Caching SHA-2 Authentication, "RSA".

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use thiserror::Error;

use super::{Password, pem};

/// Why a password was not encrypted or decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RsaError {
    /// No key could be made.
    #[error("no RSA key could be made")]
    Generate,
    /// The key is not a public key in PEM.
    #[error("the server's public key is not an RSA key in PEM")]
    Key,
    /// The password is too long for the key, or the library failed.
    #[error("the password cannot be encrypted with the server's key")]
    Encrypt,
    /// The text was not encrypted for this key.
    #[error("the encrypted password cannot be read")]
    Decrypt,
}

/// The proxy's own key, with which clients encrypt their passwords when there is no TLS.
pub struct ProxyKey {
    private: OaepPrivateDecryptingKey,
    public_pem: String,
    size: usize,
}

impl fmt::Debug for ProxyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ProxyKey").field("bits", &self.size.saturating_mul(8)).finish_non_exhaustive()
    }
}

impl ProxyKey {
    /// A new key of 2048 bits. Takes a tenth of a second or more, and random bytes of the library's own.
    pub fn generate() -> Result<Self, RsaError> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| RsaError::Generate)?;
        let der = key.public_key().as_der().map_err(|_| RsaError::Generate)?;
        let public_pem = pem::encode(der.as_ref());
        let size = key.key_size_bytes();
        let private = OaepPrivateDecryptingKey::new(key).map_err(|_| RsaError::Generate)?;
        Ok(Self { private, public_pem, size })
    }

    /// The public half as clients expect it.
    pub fn public_key_pem(&self) -> &str {
        &self.public_pem
    }

    /// Bytes of what a client sends.
    pub fn ciphertext_length(&self) -> usize {
        self.size
    }

    /// The password in what a client sent for the scramble it was given.
    pub fn decrypt(&self, ciphertext: &[u8], scramble: &[u8]) -> Result<Password, RsaError> {
        if ciphertext.len() != self.size {
            return Err(RsaError::Decrypt);
        }
        let mut room = vec![0; self.private.min_output_size()];
        let text = self
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, ciphertext, &mut room, None)
            .map_err(|_| RsaError::Decrypt)?;
        let mut password = cover(text, scramble);
        match password.pop() {
            Some(0) => Ok(Password(password)),
            _ => Err(RsaError::Decrypt),
        }
    }
}

/// The password encrypted for a server's public key.
pub fn encrypt_password(
    server_key_pem: &[u8],
    password: &[u8],
    scramble: &[u8],
) -> Result<Vec<u8>, RsaError> {
    let der = pem::decode(server_key_pem).ok_or(RsaError::Key)?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| RsaError::Key)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| RsaError::Key)?;
    let text = cover(&[password, &[0]].concat(), scramble);
    let mut room = vec![0; key.ciphertext_size()];
    let ciphertext =
        key.encrypt(&OAEP_SHA1_MGF1SHA1, &text, &mut room, None).map_err(|_| RsaError::Encrypt)?;
    Ok(ciphertext.to_vec())
}

/// XOR with the scramble, over and over.
fn cover(text: &[u8], scramble: &[u8]) -> Vec<u8> {
    text.iter().zip(scramble.iter().cycle()).map(|(text, scramble)| text ^ scramble).collect()
}
