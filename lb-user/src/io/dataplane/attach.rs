//! Attaching the program to interfaces through pinned links.

use super::DataplaneError;
use super::load::{Options, chain};
use crate::model::AttachMode;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{ProgramError, Xdp};
use std::path::{Path, PathBuf};

/// How the program really runs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpModeUsed {
    /// In the driver.
    Native,
    /// In the network stack, after the kernel built its packet structure.
    Generic,
}

impl XdpModeUsed {
    /// A word for people and pins.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// The program on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The interface.
    pub interface: String,
    /// How it runs there.
    pub mode: XdpModeUsed,
}

/// Pins have no dots (the BPF file system reserves them), interface names may.
fn pin_path(pin_dir: &Path, interface: &str, mode: XdpModeUsed) -> PathBuf {
    pin_dir.join(format!("link_{}_{}", interface.replace('.', "_"), mode.name()))
}

pub(super) fn attach_all(
    program: &mut Xdp,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<Vec<Attachment>, DataplaneError> {
    let mut attachments = Vec::new();
    for interface in &options.interfaces {
        let mode = match take_over(program, &options.pin_dir, interface)? {
            Some(mode) => mode,
            None => attach_anew(program, options, interface, warnings)?,
        };
        attachments.push(Attachment { interface: interface.clone(), mode });
    }
    Ok(attachments)
}

/// Puts the program into a link that an earlier agent pinned.
fn take_over(
    program: &mut Xdp,
    pin_dir: &Path,
    interface: &str,
) -> Result<Option<XdpModeUsed>, DataplaneError> {
    for mode in [XdpModeUsed::Native, XdpModeUsed::Generic] {
        let path = pin_path(pin_dir, interface, mode);
        if !path.exists() {
            continue;
        }
        let failed = |reason: String| DataplaneError::Pin { path: path.clone(), reason };
        let pinned = PinnedLink::from_pin(&path).map_err(|error| failed(chain(&error)))?;
        let link = XdpLink::try_from(FdLink::from(pinned)).map_err(|error| failed(chain(&error)))?;
        match program.attach_to_link(link) {
            Ok(id) => {
                // The pin holds the link; our descriptor is not needed.
                drop(program.take_link(id).map_err(|error| failed(chain(&error)))?);
                return Ok(Some(mode));
            }
            // The interface went away and took the link's purpose with it.
            Err(_) => std::fs::remove_file(&path).map_err(|error| failed(error.to_string()))?,
        }
    }
    Ok(None)
}

fn attach_anew(
    program: &mut Xdp,
    options: &Options,
    interface: &str,
    warnings: &mut Vec<String>,
) -> Result<XdpModeUsed, DataplaneError> {
    let failed = |reason: String| DataplaneError::Attach { interface: interface.to_owned(), reason };
    let (id, mode) = match options.attach {
        AttachMode::Native => (program.attach(interface, XdpMode::Driver), XdpModeUsed::Native),
        AttachMode::Generic => (program.attach(interface, XdpMode::Skb), XdpModeUsed::Generic),
        AttachMode::Auto => match program.attach(interface, XdpMode::Driver) {
            Err(error) if !is_busy(&error) => {
                let id = program.attach(interface, XdpMode::Skb);
                if id.is_ok() {
                    warnings.push(format!(
                        "interface {interface}: its driver does not take the program ({}); it runs in generic \
                         mode, which costs several times more for each packet",
                        chain(&error)
                    ));
                }
                (id, XdpModeUsed::Generic)
            }
            attached => (attached, XdpModeUsed::Native),
        },
    };
    let id = id.map_err(|error| failed(explain(&error)))?;
    let link = program.take_link(id).map_err(|error| failed(chain(&error)))?;
    let link = FdLink::try_from(link).map_err(|error| failed(chain(&error)))?;
    let path = pin_path(&options.pin_dir, interface, mode);
    link.pin(&path).map_err(|error| DataplaneError::Pin { path, reason: chain(&error) })?;
    Ok(mode)
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}

fn is_busy(error: &ProgramError) -> bool {
    matches!(errno(error), Some(libc::EBUSY | libc::EEXIST))
}

/// The kernel's refusals in words that say the way out.
fn explain(error: &ProgramError) -> String {
    match error {
        ProgramError::UnknownInterface { .. } => {
            "there is no such interface; `ip link` lists those there are".into()
        }
        error if is_busy(error) => "another XDP program is attached; `ip link show` names it. Another lbctl \
             agent with another pin_dir, or another product? End it, or `ip link set dev IFACE xdp off`"
            .into(),
        error if matches!(errno(error), Some(libc::EPERM | libc::EACCES)) => {
            "not permitted: the agent needs root, or CAP_NET_ADMIN and CAP_BPF".into()
        }
        error => chain(error),
    }
}
