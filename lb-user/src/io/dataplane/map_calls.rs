//! System calls that aya does not have, or not on any thread: BPF_MAP_LOOKUP_BATCH, BPF_MAP_LOOKUP_AND_DELETE_ELEM,
//! BPF_PROG_TEST_RUN.
//!
//! A walk with one system call for each entry would take seconds at a million flows; in batches it takes tens of
//! milliseconds and holds each bucket's lock no longer. Taking an entry out shows what it was at that moment, which
//! looking and then deleting does not.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_int = 21;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;

/// The kernel's `union bpf_attr`, as far as batch operations use it (`struct { ... } batch`).
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The kernel's `union bpf_attr`, as far as operations on one entry use it.
#[repr(C)]
#[derive(Default)]
struct ElementAttr {
    map_fd: u32,
    zero: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The kernel's `union bpf_attr`, as far as running a program uses it (`struct { ... } test`).
#[repr(C)]
#[derive(Default)]
struct RunAttr {
    program_fd: u32,
    result: u32,
    data_in_bytes: u32,
    data_out_bytes: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration_ns: u32,
}

/// Runs a program once on a packet.
pub(super) fn run(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<()> {
    let mut attr = RunAttr {
        program_fd: program.as_raw_fd() as u32,
        data_in_bytes: packet.len() as u32,
        data_in: packet.as_ptr() as u64,
        repeat: 1,
        ..RunAttr::default()
    };
    // SAFETY: the pointer is to a packet of that length which outlives the call, and the kernel only reads it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            std::ptr::from_mut(&mut attr),
            std::mem::size_of::<RunAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes an entry out of a hash map (kernel 5.14), if it is there.
pub(super) fn take_out<K: bytemuck::Pod, V: bytemuck::Pod>(
    map: BorrowedFd<'_>,
    key: &K,
) -> io::Result<Option<V>> {
    let mut value = V::zeroed();
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd() as u32,
        key: std::ptr::from_ref(key) as u64,
        value: std::ptr::from_mut(&mut value) as u64,
        ..ElementAttr::default()
    };
    // SAFETY: the pointers are to a key and a value that outlive the call and whose sizes are the map's (the caller
    // opened it with these types); any bytes written make a valid `Pod`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_LOOKUP_AND_DELETE_ELEM,
            std::ptr::from_mut(&mut attr),
            std::mem::size_of::<ElementAttr>(),
        )
    };
    if result == 0 {
        return Ok(Some(value));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        error => Err(error),
    }
}

/// A walk through a hash map.
pub(super) struct BatchWalk<K, V> {
    cursor: Option<u32>,
    done: bool,
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K: bytemuck::Pod, V: bytemuck::Pod> BatchWalk<K, V> {
    /// A walk with room for so many entries at a time (more than any bucket may hold).
    pub(super) fn new(room: usize) -> Self {
        let keys = vec![K::zeroed(); room];
        Self { cursor: None, done: false, keys, values: vec![V::zeroed(); room] }
    }

    /// Calls `visit` with entries, for as long as it says true.
    pub(super) fn while_wanted(
        mut self,
        map: BorrowedFd<'_>,
        mut visit: impl FnMut(&K, &V) -> bool,
    ) -> io::Result<()> {
        while let Some((keys, values)) = self.next(map)? {
            if !keys.iter().zip(values).all(|(key, value)| visit(key, value)) {
                break;
            }
        }
        Ok(())
    }

    /// The next entries, or `None` at the end. Entries that come or go during the walk may be missed.
    pub(super) fn next(&mut self, map: BorrowedFd<'_>) -> io::Result<Option<(&[K], &[V])>> {
        if self.done {
            return Ok(None);
        }
        let mut next_cursor = 0u32;
        let mut attr = BatchAttr {
            in_batch: self.cursor.as_ref().map_or(0, |cursor| std::ptr::from_ref(cursor) as u64),
            out_batch: std::ptr::from_mut(&mut next_cursor) as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: u32::try_from(self.keys.len()).unwrap_or(u32::MAX),
            map_fd: map.as_raw_fd() as u32,
            ..BatchAttr::default()
        };
        // SAFETY: the pointers are to buffers that outlive the call, of `count` keys and values whose sizes
        // are the map's (the caller opened it with these types); any bytes written make valid `Pod`s.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_LOOKUP_BATCH,
                std::ptr::from_mut(&mut attr),
                std::mem::size_of::<BatchAttr>(),
            )
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            // The end of the map; `count` says how many came before it.
            if error.raw_os_error() != Some(libc::ENOENT) {
                return Err(error);
            }
            self.done = true;
        }
        self.cursor = Some(next_cursor);
        let count = (attr.count as usize).min(self.keys.len());
        Ok(Some((&self.keys[..count], &self.values[..count])))
    }
}
