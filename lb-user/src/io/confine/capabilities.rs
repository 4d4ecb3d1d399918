//! Capabilities (capabilities(7)): those the agent works with, and no others, neither now nor by a program that it starts.

use super::ConfineError;
use caps::{CapSet, Capability, CapsHashSet};

/// What the agent works with, as far as it has it: programs and maps (BPF, PERFMON for what the verifier lets pass only with it), attaching
/// them, addresses and routes (NET_ADMIN), VRRP and clients' own addresses (NET_RAW), services' ports (NET_BIND_SERVICE); and the right to be
/// urgent where no limit gives it.
pub(super) fn kept(may_be_urgent: bool) -> Result<CapsHashSet, ConfineError> {
    let own = caps::read(None, CapSet::Permitted)?;
    let mut wanted: CapsHashSet = [
        Capability::CAP_BPF,
        Capability::CAP_NET_ADMIN,
        Capability::CAP_NET_BIND_SERVICE,
        Capability::CAP_NET_RAW,
        Capability::CAP_PERFMON,
    ]
    .into();
    if !may_be_urgent {
        wanted.insert(Capability::CAP_SYS_NICE);
    }
    Ok(own.intersection(&wanted).copied().collect())
}

/// No program that is started from now on has others.
pub(super) fn bound(kept: &CapsHashSet) -> Result<(), ConfineError> {
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        // Whoever is not trusted with that has no others to give.
        return Ok(());
    }
    for capability in caps::read(None, CapSet::Bounding)?.difference(kept) {
        caps::drop(None, CapSet::Bounding, *capability)?;
    }
    Ok(())
}

/// Has these and no others, and so have programs that are started: an agent that takes this one's place is one.
pub(super) fn keep(kept: &CapsHashSet) -> Result<(), ConfineError> {
    // Ambient ones have to be permitted and inheritable.
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Effective, kept)?;
    caps::set(None, CapSet::Permitted, kept)?;
    caps::set(None, CapSet::Inheritable, kept)?;
    caps::set(None, CapSet::Ambient, kept)?;
    Ok(())
}

pub(super) fn effective() -> Result<Vec<String>, ConfineError> {
    let mut names: Vec<String> =
        caps::read(None, CapSet::Effective)?.iter().map(ToString::to_string).collect();
    names.sort();
    Ok(names)
}
