//! System calls that neither the agent nor a command of the operator's needs: a seccomp filter (seccomp(2)) refuses them with `EPERM`.
//!
//! It is a list of what is denied, as commands are any programs. What is on it changes what a machine is: mounts, modules, clocks, namespaces,
//! others' memory, keys, the kernel itself.

use super::ConfineError;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use std::collections::BTreeMap;

macro_rules! calls {
    ($($name:ident)*) => {
        /// Their names and numbers.
        const DENIED: &[(&str, libc::c_long)] = &[$((stringify!($name), libc::$name)),*];
    };
}

calls! {
    SYS_mount SYS_umount2 SYS_pivot_root SYS_move_mount SYS_open_tree SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_mount_setattr
    SYS_chroot SYS_swapon SYS_swapoff
    SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_kexec_file_load SYS_reboot
    SYS_settimeofday SYS_clock_settime SYS_clock_adjtime SYS_adjtimex
    SYS_unshare SYS_setns
    SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_kcmp SYS_pidfd_getfd SYS_process_madvise
    SYS_add_key SYS_request_key SYS_keyctl
    SYS_acct SYS_quotactl SYS_quotactl_fd SYS_syslog SYS_vhangup SYS_lookup_dcookie
    SYS_userfaultfd SYS_perf_event_open SYS_open_by_handle_at SYS_name_to_handle_at
    SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register
    SYS_sethostname SYS_setdomainname
}

/// Arguments of `clone` that make a namespace (linux/sched.h).
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    // CLONE_NEWTIME shares its bit with the signal at the child's end, and is for `unshare` and `clone3` alone.
    libc::CLONE_NEWNET,
];

pub(super) fn restrict() -> Result<(), ConfineError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|(_, number)| (*number, Vec::new())).collect();
    let flags = NAMESPACES.iter().map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        let is_set = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag);
        is_set.and_then(|is_set| SeccompRule::new(vec![is_set]))
    });
    rules.insert(libc::SYS_clone, flags.collect::<Result<_, _>>().map_err(failed)?);
    apply(rules, libc::EPERM)?;
    // What its argument asks for, a filter cannot see. Where there is no such call, libraries use `clone`.
    apply([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS)
}

fn failed(error: impl std::fmt::Display) -> ConfineError {
    ConfineError::Calls(error.to_string())
}

fn apply(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: libc::c_int) -> Result<(), ConfineError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
    let refused = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).map_err(failed)?;
    let program: BpfProgram = filter.try_into().map_err(failed)?;
    apply_filter(&program).map_err(failed)
}
