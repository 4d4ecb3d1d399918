//! What the agent keeps of the rights it was started with: where it has to write, and as whom.

use super::AgentError;
use super::state::Agent;
use crate::api::ConfinementView;
use crate::config::Config;
use crate::io::confine::{self, Account, Confinement, Wanted};
use crate::io::{dataplane, hand_over};
use nix::unistd::{Uid, User};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

/// What programs expect to be able to write.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];
/// Settings of the network: forwarding.
const NETWORK_SETTINGS: &str = "/proc/sys/net";

/// Gives up what is not needed. To be called before there are threads.
pub(super) fn give_up(config: &Config, config_file: &Path) -> Result<Confinement, AgentError> {
    let terms = &config.agent;
    let group = super::policy(config)?.group;
    let account = match &terms.user {
        Some(name) => Account::named(name, group)?,
        None => None,
    };
    prepare_folders(config, account.as_ref())?;
    if !terms.confine {
        return Ok(Confinement::default());
    }
    let wanted = Wanted {
        account,
        writable: writable(config, config_file),
        writable_files: DEVICES.map(PathBuf::from).into(),
        is_successor: hand_over::is_awaited(),
    };
    let confinement = confine::confine(&wanted)?;
    if confinement.inherited {
        info!("confined as the agent before this one was");
    } else if !confinement.files {
        warn!("this kernel has no Landlock: where the agent may write is left to users and modes");
    }
    Ok(confinement)
}

/// Makes what has to be there, as whoever may make it.
fn prepare_folders(config: &Config, account: Option<&Account>) -> Result<(), AgentError> {
    dataplane::make_pin_dir(&config.dataplane.pin_dir, account.is_some())?;
    let socket_folder = folder_of(&config.control.socket);
    let acme = config.acme.as_ref().map(|acme| acme.folder.as_path());
    let own = [(config.dataplane.pin_dir.as_path(), true), (socket_folder, false)];
    for (folder, with_content) in own.into_iter().chain(acme.map(|folder| (folder, true))) {
        match account {
            Some(account) => confine::make_own(folder, account, with_content)?,
            // Whoever needs it says so if that fails.
            None => drop(std::fs::create_dir_all(folder)),
        }
    }
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where the agent and the operator's commands write.
fn writable(config: &Config, config_file: &Path) -> Vec<PathBuf> {
    let acme = config.acme.as_ref().map(|acme| acme.folder.as_path());
    let own = [
        folder_of(config_file),
        folder_of(&config.control.socket),
        // The folder itself comes and goes.
        folder_of(&config.dataplane.pin_dir),
        Path::new(NETWORK_SETTINGS),
    ];
    let own = own.into_iter().chain(acme).map(Path::to_owned);
    own.chain(config.agent.writable.iter().cloned()).collect()
}

impl Agent {
    pub(super) fn confinement_view(&self) -> ConfinementView {
        let Confinement { capabilities, files, inherited } = self.confinement.clone();
        let uid = Uid::effective();
        let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        let confined = self.config.agent.confine;
        ConfinementView { user, confined, capabilities, files, inherited }
    }
}
