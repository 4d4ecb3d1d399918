//! Replaces a file so that whoever reads it finds the old text or the new one, never a part.
//!
//! Owns how the configuration file is written. Never decides what is in it.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// The mode of a file that was not there before: configurations may come to hold passwords.
const NEW_FILE_MODE: u32 = 0o640;

/// Writes a file through a temporary one in the same folder, with the mode and owner of the old one.
///
/// When it returns, the new text is on the disk. A symbolic link stays one: what it points at is replaced.
pub fn write_atomically(path: &Path, text: &str) -> io::Result<()> {
    let path = match path.canonicalize() {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new().prefix(".lbctl-").suffix(".tmp").tempfile_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    let file = temporary.as_file();
    match path.metadata() {
        Ok(old) => {
            let new = file.metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                fchown(file, Some(old.uid()), Some(old.gid()))?;
            }
            // After the owner, because a change of owner takes set-id bits away.
            file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            file.set_permissions(Permissions::from_mode(NEW_FILE_MODE))?;
        }
        Err(error) => return Err(error),
    }
    file.sync_all()?;
    temporary.persist(&path).map_err(|error| error.error)?;
    // The new name is only on the disk when the folder is.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
