//! The folder of the pins: a BPF file system where there is none, and everything in it away again.
//!
//! Owns what may be done to that folder. What is pinned in it, and under which names, is for those who load to know.

use super::DataplaneError;
use super::attach::pinned_interface;
use super::load::are_maps;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::fstatfs;
use nix::unistd::fchown;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tracing::debug;

const BPF_FS_MAGIC: nix::sys::statfs::FsType = nix::sys::statfs::BPF_FS_MAGIC;

pub(super) fn pin_failed(path: &Path) -> impl Fn(std::io::Error) -> DataplaneError + '_ {
    move |error| DataplaneError::Pin { path: path.to_owned(), reason: error.to_string() }
}

/// The folder of the pins must be there, on a BPF file system.
pub(super) fn expect_pin_dir(pin_dir: &Path) -> Result<(), DataplaneError> {
    if is_bpffs(pin_dir) {
        return Ok(());
    }
    Err(DataplaneError::NoBpffs { path: pin_dir.to_owned() })
}

/// Makes an empty folder that is no BPF file system one of that user's. What is mounted and given away is the folder that was opened, whatever its
/// name leads to by then.
pub fn mount_pin_dir(pin_dir: &Path, uid: u32, gid: u32) -> Result<(), DataplaneError> {
    let failed = |errno: nix::Error| pin_failed(pin_dir)(errno.into());
    // It would hide what is in there.
    let is_empty = fs::read_dir(pin_dir).is_ok_and(|mut inside| inside.next().is_none());
    if is_bpffs(pin_dir) || !is_empty {
        return Ok(());
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let folder = open(pin_dir, flags, Mode::empty()).map_err(failed)?;
    if fstat(&folder).map_err(failed)?.st_uid != uid {
        return Err(pin_failed(pin_dir)(std::io::Error::other("the folder is not the agent's")));
    }
    let at = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), at.as_str(), Some("bpf"), flags, Some("mode=0700")).map_err(failed)?;
    // Opened anew, it is what was mounted there.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mounted = open(pin_dir, flags, Mode::empty()).map_err(failed)?;
    let found = fstatfs(&mounted).map_err(failed)?;
    if found.filesystem_type() != BPF_FS_MAGIC || !has_no_pins(pin_dir) {
        return Err(pin_failed(pin_dir)(std::io::Error::other("something else is there by now")));
    }
    fchown(&mounted, Some(uid.into()), Some(gid.into())).map_err(failed)
}

pub(super) fn remove_dir(dir: &Path) -> Result<(), DataplaneError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(pin_failed(dir)(error)),
        _ => Ok(()),
    }
}

fn is_bpffs(dir: &Path) -> bool {
    nix::sys::statfs::statfs(dir).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// Whether nobody has pinned anything there yet.
pub fn has_no_pins(pin_dir: &Path) -> bool {
    let is_ours = |entry: std::fs::DirEntry| entry.path().extension().is_none_or(|kind| kind != KERNELS);
    fs::read_dir(pin_dir).is_ok_and(|pins| !pins.flatten().any(is_ours))
}

/// The kernel's own files, in the root of each such file system.
const KERNELS: &str = "debug";

/// Removes what agents pin: folders of their maps, and links. Whether anything was there.
fn remove_pins(pin_dir: &Path) -> Result<bool, DataplaneError> {
    let mut removed = false;
    for entry in fs::read_dir(pin_dir).map_err(pin_failed(pin_dir))? {
        let path = entry.map_err(pin_failed(pin_dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if pinned_interface(name).is_some() {
            fs::remove_file(&path).map_err(pin_failed(&path))?;
        } else if are_maps(pin_dir, name) {
            remove_dir(&path)?;
        } else {
            continue;
        }
        removed = true;
    }
    Ok(removed)
}

/// Whether a file system begins there, as where [`mount_pin_dir`] mounted one.
fn is_mounted_on(dir: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    dir.parent().is_some_and(|parent| device(dir).is_some() && device(dir) != device(parent))
}

/// Takes links and maps away: the interfaces run no program afterwards, and all flows are gone.
/// Returns whether there was anything. A folder that others have pins in, too, stays with those.
pub fn detach(pin_dir: &Path, may_unmount: bool) -> Result<bool, DataplaneError> {
    if !is_bpffs(pin_dir) {
        // No pins can be there, but somebody's files.
        return Ok(false);
    }
    let removed = remove_pins(pin_dir)?;
    if !has_no_pins(pin_dir) {
        debug!(pin_dir = %pin_dir.display(), "what others have pinned there stays");
        return Ok(removed);
    }
    if is_mounted_on(pin_dir) {
        // One that an agent mounted is its user's; the system's own is root's.
        let is_a_users = fs::metadata(pin_dir).is_ok_and(|found| found.uid() != 0);
        if !(may_unmount && is_a_users) {
            return Ok(removed);
        }
        // Our own lock holds it for a moment yet. Who may not unmount it has nothing left there, and it does no harm.
        if let Err(errno) = umount2(pin_dir, MntFlags::MNT_DETACH) {
            debug!(pin_dir = %pin_dir.display(), %errno, "its file system stays mounted");
            return Ok(removed);
        }
    }
    fs::remove_dir(pin_dir).map_err(pin_failed(pin_dir))?;
    Ok(removed)
}
