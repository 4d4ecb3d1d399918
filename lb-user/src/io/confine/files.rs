//! Where this process, and what it starts, may write: Landlock (landlock(7)). Reading is left to users and modes, as before.

use super::ConfineError;
use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetStatus,
};
use std::path::PathBuf;

/// The kernel's rules that this is written for; older ones see to less, and are told of where they see to nothing.
const RULES: ABI = ABI::V5;

/// Whether the kernel sees to it.
pub(super) fn restrict(folders: &[PathBuf], files: &[PathBuf]) -> Result<bool, ConfineError> {
    let all = AccessFs::from_write(RULES);
    let in_files = all & AccessFs::from_file(RULES);
    let mut rules = Ruleset::default().handle_access(all)?.create()?;
    for (paths, access) in [(folders, all), (files, in_files)] {
        for path in paths {
            rules = allow(rules, path, access)?;
        }
    }
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// What is not there cannot be written, and is made by nobody else in the meantime.
fn allow(
    rules: RulesetCreated,
    path: &PathBuf,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, ConfineError> {
    match PathFd::new(path) {
        Ok(opened) => Ok(rules.add_rule(PathBeneath::new(opened, access))?),
        Err(_) => Ok(rules),
    }
}
