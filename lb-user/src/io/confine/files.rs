//! Where this process, and what it starts, may write: Landlock (landlock(7)). Reading is left to users and modes, as before.

use super::{ConfineError, FilesKept};
use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetStatus,
};
use std::path::PathBuf;

/// The kernel's rules that this is written for; older ones see to less.
const RULES: ABI = ABI::V5;

/// How far the kernel sees to it.
pub(super) fn restrict(folders: &[PathBuf], files: &[PathBuf]) -> Result<FilesKept, ConfineError> {
    let all = AccessFs::from_write(RULES);
    let in_files = all & AccessFs::from_file(RULES);
    let mut rules = Ruleset::default().handle_access(all)?.create()?;
    for (paths, access) in [(folders, all), (files, in_files)] {
        for path in paths {
            rules = allow(rules, path, access)?;
        }
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => FilesKept::All,
        RulesetStatus::PartiallyEnforced => FilesKept::Partly,
        RulesetStatus::NotEnforced => FilesKept::None,
    })
}

/// What is not there cannot be written, and nobody can be allowed to.
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
