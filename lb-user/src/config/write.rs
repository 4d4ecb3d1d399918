//! Replaces a file so that whoever reads it finds the old text or the new one, never a part.
//!
//! Owns how the configuration file, and what is kept beside it, is written. Never decides what is in it.

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
    replace(&path, text, |file| match path.metadata() {
        Ok(old) => {
            let new = file.metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                // Who may give it to nobody keeps it, and gives it to the group if that is one of its own.
                let given = fchown(file, Some(old.uid()), Some(old.gid()));
                given.or_else(|error| match error.kind() {
                    io::ErrorKind::PermissionDenied => fchown(file, None, Some(old.gid())).or(Ok(())),
                    _ => Err(error),
                })?;
            }
            // After the owner, because a change of owner takes set-id bits away.
            file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            file.set_permissions(Permissions::from_mode(NEW_FILE_MODE))
        }
        Err(error) => Err(error),
    })
}

/// Puts a file that only its owner can read in the place of another one, or where there was none.
///
/// # Errors
/// The folder is not there, or cannot be written to.
pub fn write_for_owner(path: &Path, text: &str) -> io::Result<()> {
    // The temporary one has mode 0600 from the start.
    replace(path, text, |_| Ok(()))
}

/// Writes a temporary file in the same folder, which becomes what `settle` makes of it, and lets it take the place.
fn replace(path: &Path, text: &str, settle: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new().prefix(".lbctl-").suffix(".tmp").tempfile_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    settle(temporary.as_file())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    // The new name is only on the disk when the folder is.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
