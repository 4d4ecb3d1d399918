//! Folders and files that have to be the agent's: made as its user, or given to it where only agents have theirs.
//!
//! Who starts an agent may be root, and what its file says may be written by the user that it becomes: nothing here gives that user what it
//! could not have made itself, but below [`PLACES`]. Never follows a symbolic link where it gives something away.

use super::{Account, ConfineError};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Gid, Uid, User, fchown, fchownat, getgroups, setfsgid, setfsuid, setgroups};
use std::ffi::{CStr, OsStr};
use std::fs::{DirBuilder, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Component, Path, PathBuf};

/// Where all is the agents': of the folders themselves nobody else has any use.
pub const PLACES: [&str; 2] = ["/run/lbctl", "/var/lib/lbctl"];

/// Whose something is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    uid: Uid,
    gid: Gid,
    /// Beside its own.
    groups: Vec<Gid>,
}

impl Owner {
    /// The account's, or else this process's.
    pub fn of(account: Option<&Account>) -> Self {
        match account {
            Some(account) => Self { uid: account.uid, gid: account.gid, groups: account.groups.clone() },
            None => {
                let groups = getgroups().unwrap_or_default();
                Self { uid: Uid::effective(), gid: Gid::effective(), groups }
            }
        }
    }

    /// Its numbers, as the kernel has them.
    pub fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    fn name(&self) -> String {
        name_of(self.uid)
    }

    fn is_in(&self, group: u32) -> bool {
        self.gid.as_raw() == group || self.groups.iter().any(|own| own.as_raw() == group)
    }

    /// Does that with no more rights to files than the owner has: this thread's are others for as long (setfsuid(2)), and this process's groups. To
    /// be called before there are other threads.
    ///
    /// # Errors
    /// This process may not be the owner.
    pub fn acts<T>(&self, act: impl FnOnce() -> T) -> std::io::Result<T> {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        if self.uid == uid {
            return Ok(act());
        }
        let _back = Back(uid, gid, getgroups()?);
        setgroups(&self.groups)?;
        setfsgid(self.gid);
        setfsuid(self.uid);
        // Each says what was before, and nothing else.
        if setfsuid(self.uid) != self.uid || setfsgid(self.gid) != self.gid {
            return Err(Errno::EPERM.into());
        }
        Ok(act())
    }
}

/// Is oneself again in the end.
struct Back(Uid, Gid, Vec<Gid>);

impl Drop for Back {
    fn drop(&mut self) {
        setfsuid(self.0);
        setfsgid(self.1);
        // Who could have others can have its own.
        let _ = setgroups(&self.2);
    }
}

fn name_of(uid: Uid) -> String {
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> ConfineError + '_ {
    move |cause| ConfineError::Own { path: path.to_owned(), cause }
}

/// Makes a folder with that mode, and those above it, where there is none. One of [`PLACES`] is given to the owner, and what is below it, in
/// the folder that is asked for, as well; elsewhere the owner has to have the right to make it, and what is there has to be the owner's already.
///
/// A place that an agent of another user has is not taken from it.
///
/// # Errors
/// The file system refused, or the folder is somebody else's.
pub fn make_own(folder: &Path, mode: u32, owner: &Owner) -> Result<(), ConfineError> {
    let place = within_a_place(folder);
    if let Some((place, _)) = &place {
        make_place(place).map_err(failed(place))?;
        take_place(place, owner)?;
    }
    if !folder.exists() {
        return owner.acts(|| make(folder, mode)).flatten().map_err(failed(folder));
    }
    match place {
        // All of a place would be all agents'.
        Some((place, within)) if place != folder => {
            let mut opened = open_within(place, &within).map_err(|errno| failed(folder)(errno.into()))?;
            give_folder(&mut opened, owner).map_err(|errno| failed(folder)(errno.into()))
        }
        Some(_) => Ok(()),
        None => expect_own(folder, owner),
    }
}

/// Makes a folder with that mode, and those above it, which are for all to go through.
///
/// # Errors
/// The file system refused.
pub fn make(folder: &Path, mode: u32) -> std::io::Result<()> {
    if let Some(above) = folder.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(above)?;
    }
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn make_place(place: &Path) -> std::io::Result<()> {
    if place.exists() { Ok(()) } else { make(place, 0o755) }
}

/// Gives a place to the owner, unless others work there.
fn take_place(place: &Path, owner: &Owner) -> Result<(), ConfineError> {
    let failed = |errno: Errno| failed(place)(errno.into());
    let opened = Dir::open(place, FOLDER, Mode::empty()).map_err(failed)?;
    if fstat(opened.as_fd()).map_err(failed)?.st_uid == owner.uid.as_raw() {
        return Ok(());
    }
    // Where agents have their locks: those of other places are there, too.
    let mut locks =
        Dir::open(PLACES[0], FOLDER, Mode::empty()).or_else(|_| Dir::open(place, FOLDER, Mode::empty()));
    if let Some(Working { uid, pid }) = locks.as_mut().ok().and_then(|folder| others_in(folder, owner)) {
        let user = name_of(uid);
        return Err(ConfineError::PlaceInUse { path: place.to_owned(), user, pid });
    }
    fchown(opened.as_fd(), Some(owner.uid), Some(owner.gid)).map_err(failed)
}

/// An agent of another user.
struct Working {
    uid: Uid,
    /// As it says itself.
    pid: String,
}

/// One that holds its lock in that folder.
fn others_in(folder: &mut Dir, owner: &Owner) -> Option<Working> {
    let names: Vec<_> = folder.iter().flatten().map(|entry| entry.file_name().to_owned()).collect();
    names.into_iter().filter(|name| name.to_bytes().ends_with(b".lock")).find_map(|name| {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let opened = openat(folder.as_fd(), name.as_c_str(), flags, Mode::empty()).ok()?;
        let found =
            fstat(&opened).ok().filter(|found| is_file(found) && found.st_uid != owner.uid.as_raw())?;
        let Err((mut held, Errno::EWOULDBLOCK)) =
            Flock::lock(File::from(opened), FlockArg::LockSharedNonblock)
        else {
            return None;
        };
        let mut pid = String::new();
        // Only for the message.
        let _ = held.read_to_string(&mut pid);
        Some(Working { uid: Uid::from_raw(found.st_uid), pid: pid.trim().to_owned() })
    })
}

/// A folder elsewhere that is another user's stays so.
fn expect_own(folder: &Path, owner: &Owner) -> Result<(), ConfineError> {
    let found = std::fs::metadata(folder).map_err(failed(folder))?;
    // Who may write there by a group may as well be meant to. Where all may, others have names there.
    let is_shared = found.mode() & 0o022 == 0o020 && owner.is_in(found.gid());
    if found.uid() == owner.uid.as_raw() || is_shared || owner.uid == Uid::effective() {
        return Ok(());
    }
    Err(ConfineError::Foreign { path: folder.to_owned(), user: owner.name() })
}

/// Gives a socket that nobody answers at to the owner, if one is there: what an agent before left.
///
/// # Errors
/// The file system refused.
pub fn give_stale_socket(socket: &Path, owner: &Owner) -> Result<(), ConfineError> {
    let is_socket = std::fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && UnixStream::connect(socket).is_err() { give_file(socket, owner) } else { Ok(()) }
}

/// Gives one of the agents' own files to the owner, if it is there: below [`PLACES`]; elsewhere it stays whose it is.
///
/// # Errors
/// The file system refused.
pub fn give_file(file: &Path, owner: &Owner) -> Result<(), ConfineError> {
    let Some((place, within)) = within_a_place(file) else { return Ok(()) };
    let given = if within.as_os_str().is_empty() {
        give(AT_FDCWD, place.as_os_str(), owner)
    } else {
        let above = within.parent().unwrap_or(Path::new(""));
        open_within(place, above)
            .and_then(|folder| give(folder.as_fd(), within.file_name().unwrap_or_default(), owner))
    };
    match given {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(failed(file)(errno.into())),
    }
}

fn within_a_place(file: &Path) -> Option<(&'static Path, PathBuf)> {
    PLACES
        .into_iter()
        .map(Path::new)
        .find_map(|place| Some((place, file.strip_prefix(place).ok()?.to_owned())))
}

fn give(folder: impl std::os::fd::AsFd, name: &OsStr, owner: &Owner) -> nix::Result<()> {
    // What was looked at is what is given, whatever has that name by then.
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let opened = openat(folder.as_fd(), name, flags, Mode::empty())?;
    let found = fstat(&opened)?;
    // A second name of a file may be in a folder of the system's.
    let may_be_given = is_folder(&found) || found.st_nlink == 1;
    if found.st_uid == owner.uid.as_raw() || !may_be_given {
        return Ok(());
    }
    fchownat(&opened, "", Some(owner.uid), Some(owner.gid), AtFlags::AT_EMPTY_PATH)
}

fn is(found: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == kind
}

fn is_folder(found: &FileStat) -> bool {
    is(found, SFlag::S_IFDIR)
}

fn is_file(found: &FileStat) -> bool {
    is(found, SFlag::S_IFREG)
}

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// Goes down step by step, where a link on the way leads nowhere, nor one upwards.
fn open_within(place: &Path, within: &Path) -> nix::Result<Dir> {
    let mut opened = Dir::open(place, FOLDER, Mode::empty())?;
    for step in within.components() {
        let Component::Normal(_) = step else { return Err(Errno::EINVAL) };
        opened = Dir::openat(&opened, step.as_os_str(), FOLDER, Mode::empty())?;
    }
    Ok(opened)
}

fn give_folder(folder: &mut Dir, owner: &Owner) -> nix::Result<()> {
    if fstat(folder.as_fd())?.st_uid != owner.uid.as_raw() {
        fchown(folder.as_fd(), Some(owner.uid), Some(owner.gid))?;
    }
    let names: Vec<_> = folder.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect();
    for name in names {
        let name = name?;
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            give_entry(folder, &name, owner)?;
        }
    }
    Ok(())
}

fn give_entry(folder: &Dir, name: &CStr, owner: &Owner) -> nix::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let found = fstatat(folder.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if is_folder(&found) {
        return give_folder(&mut Dir::openat(folder.as_fd(), name, FOLDER, Mode::empty())?, owner);
    }
    give(folder.as_fd(), OsStr::from_bytes(name.to_bytes()), owner)
}

#[cfg(test)]
mod tests;
