//! Lets a thread of this process be scheduled before ordinary work: one whose being late others take for being gone.

/// As far before others as a program of the system's should be.
const NICE: libc::c_int = -10;

/// Raises the calling thread. Without the right to it stays as it is, which works as well while the machine is not busy.
pub fn raise() {
    // SAFETY: no memory is involved. On Linux 0 is the calling thread alone.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}
