//! What the agent keeps of the rights it was started with: where it has to write, and as whom.

use super::AgentError;
use super::serving::Places;
use super::state::Agent;
use super::uniqueness::Claim;
use crate::api::ConfinementView;
use crate::api::server::Policy;
use crate::config::{Config, DEFAULT_ACME_FOLDER};
use crate::io::confine::{self, Account, Confinement, FilesKept, Owner, Wanted};
use crate::io::confine::{give_file, give_stale_socket, make, make_own};
use crate::io::{dataplane, hand_over};
use nix::unistd::{Gid, Uid, User, getgroups};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// What programs expect to be able to write.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];
/// Settings of the network: forwarding.
const NETWORK_SETTINGS: &str = "/proc/sys/net";
/// Folders that are the system's: who may write there may become anybody.
const SYSTEMS: [&str; 9] = ["/", "/etc", "/run", "/root", "/var", "/usr", "/var/lib", "/home", "/tmp"];

/// What whoever starts the agent wants, whatever its file says: the file may be the agent's own to change.
#[derive(Clone, Debug, Default)]
pub struct Floor {
    /// Who it has to be.
    pub user: Option<String>,
}

impl Floor {
    /// Whether a configuration keeps to it.
    pub(super) fn allows(&self, config: &Config) -> Result<(), String> {
        let Some(user) = &self.user else { return Ok(()) };
        let why = format!("the agent was started with --user {user} (in its systemd unit, say)");
        if config.agent.user.as_ref() != Some(user) {
            let now = config.agent.user.as_deref().map_or("none".to_owned(), |other| format!("{other:?}"));
            return Err(format!("agent.user: it is {now}, and has to be {user:?}: {why}"));
        }
        let Some(group) = &config.control.group else { return Ok(()) };
        // One that is not there is told of by who looks for it.
        let Some(gid) = Policy::group_by_name(group) else { return Ok(()) };
        if self.has_group(gid) {
            return Ok(());
        }
        Err(format!(
            "control.group: {user:?} is not in group {group:?}, and does not come into it by this: {why}; if that is wanted, `usermod -aG {group} {user}`"
        ))
    }

    /// Whether the agent may be in a group that its file, or its file's owner, wants it in: with a floor, the system has to say so.
    fn has_group(&self, group: Gid) -> bool {
        let Some(user) = &self.user else { return true };
        match Account::named(user) {
            Ok(Some(account)) => account.is_in(group),
            // It is who we are.
            Ok(None) => Gid::effective() == group || getgroups().is_ok_and(|groups| groups.contains(&group)),
            Err(_) => false,
        }
    }
}

/// Gives up what is not needed, and makes this agent the only one of its node, unless it takes another's place. To be called before there are threads.
pub(super) fn give_up(
    config: &Config,
    config_file: &Path,
    policy: &Policy,
    floor: &Floor,
) -> Result<(Confinement, Option<Claim>), AgentError> {
    // Who starts an agent by hand may have set anything.
    if hand_over::is_awaited() {
        return Ok((confine::inherited().unwrap_or_default(), None));
    }
    let terms = &config.agent;
    let account = match &terms.user {
        Some(name) => Account::named(name)?,
        None => None,
    };
    let claim = prepare_folders(config, account.as_ref())?;
    if !terms.confine {
        return Ok((Confinement::default(), Some(claim)));
    }
    let file = std::fs::metadata(config_file).ok().map(|found| Gid::from_raw(found.gid()));
    let wanted = Wanted {
        account,
        // The group of root opens files of the system.
        groups: policy
            .group
            .into_iter()
            .chain(file)
            .filter(|group| group.as_raw() != 0 && floor.has_group(*group))
            .collect(),
        writable: writable(config, config_file),
        writable_files: DEVICES.map(PathBuf::from).into(),
    };
    Ok((confine::confine(&wanted)?, Some(claim)))
}

/// Says what came of it; before, there is no log: its thread would keep all rights.
pub(super) fn tell(confinement: &Confinement, config: &Config) {
    if confinement.inherited {
        info!("confined as the agent before this one was");
    } else if config.agent.confine && confinement.files == FilesKept::None {
        warn!("this kernel has no Landlock: where the agent may write is left to users and modes");
    }
    for folder in config.agent.writable.iter().filter(|folder| !folder.exists()) {
        warn!(folder = %folder.display(), "agent.writable: it was not there at the start, and cannot be written");
    }
}

/// Makes what has to be there for whoever will use it, once it is sure that nobody else does.
fn prepare_folders(config: &Config, account: Option<&Account>) -> Result<Claim, AgentError> {
    let owner = &Owner::of(account);
    // Where rights are kept, what is there already can be used whosever it is.
    let own = |folder: &Path, mode| match config.agent.confine {
        true => Ok(make_own(folder, mode, owner)?),
        false => make(folder, mode).map_err(|cause| AgentError::Folder { path: folder.to_owned(), cause }),
    };
    let socket = &config.control.socket;
    let folder = folder_of(socket);
    // What else is in there is other agents', or anybody's.
    if !folder.exists() || confine::PLACES.iter().any(|place| folder == Path::new(place)) {
        own(folder, 0o755)?;
    }
    let places = Places::of(config);
    let mut claim = claim_as(owner, &places, &folder.join(format!("{}.lock", config.node.name)))?;
    if config.agent.confine {
        give_stale_socket(socket, owner)?;
    }
    let pin_dir = &config.dataplane.pin_dir;
    own(pin_dir, 0o700)?;
    if account.is_some() {
        let (uid, gid) = owner.ids();
        dataplane::mount_pin_dir(pin_dir, uid, gid)?;
    }
    claim.follow_pins(pin_dir)?;
    if let Some(acme) = &config.acme {
        own(&acme.folder, 0o700)?;
    }
    Ok(claim)
}

/// The lock has to be the owner's: an agent that takes this one's place is the owner only.
fn claim_as(owner: &Owner, places: &Places, lock: &Path) -> Result<Claim, AgentError> {
    // Of an agent before that was another user's, and has ended: such a one that runs has its folder to itself.
    give_file(lock, owner)?;
    places.claim_as(owner)
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where the agent and the operator's commands write.
fn writable(config: &Config, config_file: &Path) -> Vec<PathBuf> {
    let target = config_file.canonicalize().unwrap_or_else(|_| config_file.to_owned());
    let mut all = vec![folder_of(config_file).to_owned(), folder_of(&config.control.socket).to_owned()];
    // A file may be a link: what it leads to is replaced.
    all.push(folder_of(&target).to_owned());
    // The folder itself comes and goes.
    all.push(folder_of(&config.dataplane.pin_dir).to_owned());
    all.push(NETWORK_SETTINGS.into());
    // An authority may come to be asked later.
    all.push(folder_of(Path::new(DEFAULT_ACME_FOLDER)).to_owned());
    all.extend(config.acme.iter().map(|acme| acme.folder.clone()));
    all.extend(config.agent.writable.iter().cloned());
    all
}

impl Agent {
    pub(super) fn confinement_view(&self) -> ConfinementView {
        let Confinement { capabilities, files, inherited, .. } = self.confinement.clone();
        let uid = Uid::effective();
        let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        let confined = self.confinement.is_in_force();
        let files = match files {
            FilesKept::All => "all",
            FilesKept::Partly => "partly",
            FilesKept::None => "none",
        };
        ConfinementView { user, confined, capabilities, files: files.to_owned(), inherited }
    }

    /// Folders of the system that the agent may write, because something of its own is in there.
    pub(super) fn confinement_warnings(&self) -> impl Iterator<Item = String> + '_ {
        let is_wide = |folder: &PathBuf| SYSTEMS.iter().any(|own| folder == Path::new(own));
        // What the operator lists is meant.
        let asked = &self.config.agent.writable;
        let folders = writable(&self.config, &self.config_file);
        let wide: std::collections::BTreeSet<PathBuf> = folders
            .into_iter()
            .filter(|folder| self.confinement.is_in_force() && is_wide(folder) && !asked.contains(folder))
            .collect();
        wide.into_iter().map(|folder| {
            format!(
                "the agent may write all of {}, as its configuration, its socket or its pins are right in there: give them a folder of their own, such as /etc/lbctl and /run/lbctl",
                folder.display()
            )
        })
    }

    /// Refuses a configuration by which the agent has to write where it gave up to.
    pub(super) fn may_write_for(&self, config: &Config) -> Result<(), String> {
        let Some(acme) = &config.acme else { return Ok(()) };
        if !self.confinement.is_in_force() || self.confinement.allows(&acme.folder) {
            return Ok(());
        }
        let folder = acme.folder.display();
        Err(format!(
            "acme.folder: since it started the agent may not write in {folder} (agent.confine): write this into its file, and restart it"
        ))
    }
}
