//! What the agent keeps of the rights it was started with: where it has to write, and as whom.

use super::AgentError;
use super::state::Agent;
use crate::api::ConfinementView;
use crate::api::server::Policy;
use crate::config::{Config, DEFAULT_ACME_FOLDER};
use crate::io::confine::{self, Account, Confinement, FilesKept, Owner, There, Wanted, give_file, make_own};
use crate::io::{dataplane, hand_over};
use nix::unistd::{Gid, Uid, User};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// What programs expect to be able to write.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];
/// Settings of the network: forwarding.
const NETWORK_SETTINGS: &str = "/proc/sys/net";
/// Folders that are the system's: who may write there may become anybody.
const SYSTEMS: [&str; 7] = ["/", "/etc", "/run", "/root", "/var", "/usr", "/var/lib"];
/// The agents' own: what else is next to a socket may be anybody's.
const OWN: &str = "/run/lbctl";

/// Gives up what is not needed. To be called before there are threads.
pub(super) fn give_up(
    config: &Config,
    config_file: &Path,
    policy: &Policy,
) -> Result<Confinement, AgentError> {
    // Who starts an agent by hand may have set anything.
    if hand_over::is_awaited()
        && let Some(inherited) = confine::inherited()
    {
        return Ok(inherited);
    }
    let terms = &config.agent;
    let account = match &terms.user {
        Some(name) => Account::named(name)?,
        None => None,
    };
    prepare_folders(config, account.as_ref())?;
    if !terms.confine {
        return Ok(Confinement::default());
    }
    let file = std::fs::metadata(config_file).ok().map(|found| Gid::from_raw(found.gid()));
    let wanted = Wanted {
        account,
        // The group of root opens files of the system.
        groups: policy.group.into_iter().chain(file).filter(|group| group.as_raw() != 0).collect(),
        writable: writable(config, config_file),
        writable_files: DEVICES.map(PathBuf::from).into(),
    };
    Ok(confine::confine(&wanted)?)
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

/// Makes what has to be there, as whoever may make it, for whoever will use it.
fn prepare_folders(config: &Config, account: Option<&Account>) -> Result<(), AgentError> {
    let owner = Owner::of(account);
    // Where rights are kept, what is there already can be used whosever it is.
    let there = if config.agent.confine { There::IsTaken } else { There::Stays };
    let socket = &config.control.socket;
    let folder = folder_of(socket);
    // What else is in there is other agents'.
    make_own(folder, 0o755, There::Stays, owner)?;
    if config.agent.confine {
        if folder == Path::new(OWN) {
            give_file(folder, owner)?;
        }
        give_file(&folder.join(format!("{}.lock", config.node.name)), owner)?;
        give_file(socket, owner)?;
    }
    dataplane::make_pin_dir(&config.dataplane.pin_dir, account.is_some())?;
    make_own(&config.dataplane.pin_dir, 0o700, there, owner)?;
    if let Some(acme) = &config.acme {
        make_own(&acme.folder, 0o700, there, owner)?;
    }
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where the agent and the operator's commands write.
fn writable(config: &Config, config_file: &Path) -> Vec<PathBuf> {
    let target = config_file.canonicalize().unwrap_or_else(|_| config_file.to_owned());
    let mut all = own_folders(config, config_file);
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

fn own_folders(config: &Config, config_file: &Path) -> Vec<PathBuf> {
    vec![folder_of(config_file).to_owned(), folder_of(&config.control.socket).to_owned()]
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

    /// Folders of the system that the agent may write, because its files are in there.
    pub(super) fn confinement_warnings(&self) -> impl Iterator<Item = String> + '_ {
        let folders = own_folders(&self.config, &self.config_file);
        let wide = folders.into_iter().filter(|folder| SYSTEMS.iter().any(|own| folder == Path::new(own)));
        let wide: std::collections::BTreeSet<PathBuf> =
            wide.filter(|_| self.confinement.is_in_force()).collect();
        wide.into_iter().map(|folder| {
            format!(
                "the agent may write all of {}, as its configuration or its socket is right in there: give it a folder of its own, such as /etc/lbctl and /run/lbctl",
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
