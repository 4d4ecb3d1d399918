//! `[acme]`: where certificates come from that no file has yet, and how a name's owner is proved. RFC 8555.

use crate::model::AcmeChallenge;
use std::fmt;
use std::path::{Path, PathBuf};

/// Let's Encrypt, when the file names nobody.
pub(super) const DEFAULT_ACME_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Where the account, and the certificates with their keys, are kept when the file does not say.
pub const DEFAULT_ACME_FOLDER: &str = "/var/lib/lbctl/acme";

/// An authority that gives out certificates by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// Where it says what there is; an address of `https`.
    pub directory: String,
    /// Whom it may write to, as `mailto:` addresses.
    pub contact: Vec<String>,
    /// How it finds out whose a name is.
    pub challenge: AcmeChallenge,
    /// Where the account, and the certificates with their keys, are kept.
    pub folder: PathBuf,
    /// The authorities that its own certificate must lead to, in PEM; `None` are those that the system trusts.
    pub ca: Option<PathBuf>,
}

/// Whether a file has a name as [`acme_file`] gives them.
pub fn is_acme_file(file: &Path) -> bool {
    let is_hash = |text: &str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = || {
        let (rest, mark) = file.file_name()?.to_str()?.strip_suffix(".pem")?.rsplit_once('.')?;
        Some((rest.rsplit_once('-')?.1, mark))
    };
    parts().is_some_and(|(hash, mark)| is_hash(hash) && is_hash(mark))
}

/// The file of the certificate that an authority gives out for these names, with its key. Two lists of names have two files, and so have two
/// authorities, whose mark is at the end of the name.
pub fn acme_file(folder: &Path, directory: &str, names: &[String]) -> PathBuf {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = |text: &str| text.bytes().fold(0x811c_9dc5_u32, step);
    let (hash, mark) = (hash(&names.join(",")), hash(directory));
    let first = names.first().map(String::as_str).unwrap_or_default();
    folder.join(format!("{first}-{hash:08x}.{mark:08x}.pem"))
}

impl fmt::Display for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in {}", self.directory, self.challenge, self.folder.display())?;
        if !self.contact.is_empty() {
            f.write_str(", contact ")?;
            super::write_list(f, &self.contact)?;
        }
        match &self.ca {
            Some(ca) => write!(f, ", ca {}", ca.display()),
            None => Ok(()),
        }
    }
}
