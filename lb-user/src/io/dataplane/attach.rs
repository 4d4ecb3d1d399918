//! Attaching the program to interfaces through pinned links.

use super::DataplaneError;
use super::load::{LoadReport, Options, chain};
use crate::model::AttachMode;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{ProgramError, Xdp};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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

impl XdpModeUsed {
    /// Whether the configuration wants it so, or leaves it open.
    fn is_wanted(self, attach: AttachMode) -> bool {
        match attach {
            AttachMode::Auto => true,
            AttachMode::Native => self == Self::Native,
            AttachMode::Generic => self == Self::Generic,
        }
    }
}

/// A replaced link is gone a moment after its pin: so long an interface may be busy with it.
const LINK_GOES_WITHIN: Duration = Duration::from_secs(2);

/// Pins have no dots (the BPF file system reserves them), interface names may: they are written as in URLs, so that
/// no two interfaces share a pin.
fn in_pins(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2e")
}

fn pin_path(pin_dir: &Path, interface: &str, mode: XdpModeUsed) -> PathBuf {
    pin_dir.join(format!("link_{}_{}", in_pins(interface), mode.name()))
}

/// The interface of a link's pin.
pub(super) fn pinned_interface(pin: &str) -> Option<String> {
    let rest = pin.strip_prefix("link_")?;
    let written = rest.strip_suffix("_native").or_else(|| rest.strip_suffix("_generic"))?;
    Some(written.replace("%2e", ".").replace("%25", "%"))
}

pub(super) fn attach_all(
    program: &mut Xdp,
    options: &Options,
    report: &mut LoadReport,
) -> Result<Vec<Attachment>, DataplaneError> {
    let mut attachments = Vec::new();
    for interface in &options.interfaces {
        let mode = match take_over(program, &options.pin_dir, interface)? {
            Some(mode) if mode.is_wanted(options.attach) => mode,
            Some(mode) => replace(program, options, interface, mode, &mut report.warnings)?,
            None => attach_anew(program, options, interface, &mut report.warnings)?,
        };
        attachments.push(Attachment { interface: interface.clone(), mode });
    }
    leave_others(options, report)?;
    Ok(attachments)
}

/// Takes the program from interfaces that an earlier agent had and this one does not.
fn leave_others(options: &Options, report: &mut LoadReport) -> Result<(), DataplaneError> {
    let failed = |path: &Path, error: std::io::Error| DataplaneError::Pin {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let entries = std::fs::read_dir(&options.pin_dir).map_err(|error| failed(&options.pin_dir, error))?;
    for entry in entries.flatten() {
        let pin = entry.file_name().to_string_lossy().into_owned();
        let Some(name) = pinned_interface(&pin).filter(|name| !options.interfaces.contains(name)) else {
            continue;
        };
        std::fs::remove_file(entry.path()).map_err(|error| failed(&entry.path(), error))?;
        report.warnings.push(format!(
            "interface {name} is not in node.interfaces any more: the program of an earlier agent was taken from it"
        ));
        report.interfaces_left.push(name);
    }
    Ok(())
}

/// Puts another load of the program into the link of an interface.
pub(super) fn put_into(program: &mut Xdp, pin_dir: &Path, interface: &str) -> Result<(), DataplaneError> {
    match take_over(program, pin_dir, interface)? {
        Some(_) => Ok(()),
        None => Err(DataplaneError::Attach {
            interface: interface.to_owned(),
            reason: "its link is gone; restart the agent".to_owned(),
        }),
    }
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
            Err(error) if is_defunct(errno(&error)) => {
                std::fs::remove_file(&path).map_err(|error| failed(error.to_string()))?;
            }
            Err(error) => return Err(failed(format!("its program was not replaced: {}", chain(&error)))),
        }
    }
    Ok(None)
}

/// Attaches in another mode than that of the pinned link. The kernel allows one mode at a time, so between the
/// old and the new one packets go by; where the new one fails, the old one comes back.
fn replace(
    program: &mut Xdp,
    options: &Options,
    interface: &str,
    old: XdpModeUsed,
    warnings: &mut Vec<String>,
) -> Result<XdpModeUsed, DataplaneError> {
    let path = pin_path(&options.pin_dir, interface, old);
    std::fs::remove_file(&path)
        .map_err(|error| DataplaneError::Pin { path: path.clone(), reason: error.to_string() })?;
    match attach_anew_soon(program, options, interface, warnings) {
        Ok(new) => {
            warnings.push(format!(
                "interface {interface}: attached in {} mode in place of {}; for a moment no program ran there",
                new.name(),
                old.name()
            ));
            Ok(new)
        }
        Err(error) => {
            let attach = match old {
                XdpModeUsed::Native => AttachMode::Native,
                XdpModeUsed::Generic => AttachMode::Generic,
            };
            let as_before = Options { attach, ..options.clone() };
            match attach_anew_soon(program, &as_before, interface, warnings) {
                Ok(_) => Err(error),
                Err(second) => Err(DataplaneError::Attach {
                    interface: interface.to_owned(),
                    reason: format!("{error}; nor did it go back to {} mode: {second}", old.name()),
                }),
            }
        }
    }
}

/// Attaches to an interface whose old link the kernel is still taking away.
fn attach_anew_soon(
    program: &mut Xdp,
    options: &Options,
    interface: &str,
    warnings: &mut Vec<String>,
) -> Result<XdpModeUsed, DataplaneError> {
    let deadline = Instant::now() + LINK_GOES_WITHIN;
    loop {
        match attach_anew(program, options, interface, warnings) {
            Err(DataplaneError::Busy { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            attached => return attached,
        }
    }
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
    let id = id.map_err(|error| match is_busy(&error) {
        true => DataplaneError::Busy { interface: interface.to_owned() },
        false => failed(explain(&error)),
    })?;
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

/// What the kernel answers about a link whose interface is gone (ENOLINK), or is going.
fn is_defunct(errno: Option<i32>) -> bool {
    matches!(errno, Some(libc::ENOLINK | libc::ENODEV))
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
        error if matches!(errno(error), Some(libc::EPERM | libc::EACCES)) => {
            "not permitted: the agent needs root".into()
        }
        error => chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_of_a_pin_is_found_in_its_name() {
        let dir = Path::new("/p");
        // Names that look alike keep pins of their own.
        for name in ["eth0", "eth0.12", "eth0_12", "a_b", "a%2eb", "a%b"] {
            for mode in [XdpModeUsed::Native, XdpModeUsed::Generic] {
                let path = pin_path(dir, name, mode);
                let pin = path.file_name().and_then(|name| name.to_str()).expect("a name");
                assert_eq!(pinned_interface(pin).as_deref(), Some(name));
                assert!(!pin.contains('.'), "{pin}");
            }
        }
        assert_eq!(pinned_interface("maps"), None);
        assert_eq!(pinned_interface("link_eth0"), None);
    }

    #[test]
    fn only_an_explicit_mode_replaces_a_pinned_link() {
        for mode in [XdpModeUsed::Native, XdpModeUsed::Generic] {
            assert!(mode.is_wanted(AttachMode::Auto));
        }
        assert!(XdpModeUsed::Native.is_wanted(AttachMode::Native));
        assert!(!XdpModeUsed::Native.is_wanted(AttachMode::Generic));
        assert!(!XdpModeUsed::Generic.is_wanted(AttachMode::Native));
    }

    #[test]
    fn a_pin_is_given_up_only_for_a_link_that_is_dead() {
        assert!(is_defunct(Some(libc::ENOLINK)) && is_defunct(Some(libc::ENODEV)));
        assert!(!is_defunct(Some(libc::EPERM)) && !is_defunct(Some(libc::EINVAL)) && !is_defunct(None));
    }
}
