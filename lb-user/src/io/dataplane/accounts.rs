//! The numbers of backends' and services' active flows, which the program counts up and down and the agent corrects.
//!
//! The program counts every promotion and every close, atomically. What the agent takes out of the table for its
//! silence the program never sees, so the agent counts that in a table of its own, whose only writer is the thread that
//! sweeps. The difference of the two is exact at any moment. An agent that was killed between taking a flow out and
//! counting it leaves a drift; the next sweeps find it, because they count the flows themselves.
//!
//! Accounts of the firewall's limited sources come and go, so there the program itself takes a forgotten flow off: a
//! second program does nothing else, and is run for each.

use super::load::SETTLE_PROGRAM;
use super::maps::{again, failed, read_view};
use super::{Dataplane, DataplaneError, map_calls};
use aya::Ebpf;
use aya::maps::{Array, Map, MapData};
use aya::programs::{Program, ProgramFd};
use lb_ebpf::abi::{
    Direction, FlowKey, FlowRecord, LimitedSource, MAX_ACCOUNTS, MAX_BACKENDS, NO_RULE, active_flows_of,
    service_account,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::AsFd;

const COUNTED: &str = "ACTIVE_FLOWS";
const FORGOTTEN: &str = "FORGOTTEN_FLOWS";

/// Ids that one sweep looks at: each look is a system call, and drifts are rare.
const WINDOW: u32 = 256;

/// What the program counted and the agent forgot, by account: a backend's id, or a service's behind those.
pub(super) type Balance = BTreeMap<u32, (u64, u64)>;

pub(super) struct Accounts {
    counted: Array<MapData, u64>,
    forgotten: Array<MapData, u64>,
    /// The ids that this sweep looks at.
    window: Range<u32>,
    settle: ProgramFd,
    /// What the last sweep found to be wrong, if it stays so.
    suspected: BTreeMap<u32, i64>,
}

impl Accounts {
    pub(super) fn open(ebpf: &Ebpf) -> Result<Self, DataplaneError> {
        Ok(Self {
            counted: open(ebpf, COUNTED)?,
            forgotten: open(ebpf, FORGOTTEN)?,
            window: 0..0,
            settle: settle_program(ebpf)?,
            suspected: BTreeMap::new(),
        })
    }

    /// Turns to the next ids, and says what both tables hold of them.
    pub(super) fn begin(&mut self) -> Result<Balance, DataplaneError> {
        let start = if self.window.end >= self.counted.len() { 0 } else { self.window.end };
        self.window = start..(start + WINDOW).min(self.counted.len());
        self.read()
    }

    fn read(&self) -> Result<Balance, DataplaneError> {
        let mut balance = Balance::new();
        for id in self.window.clone().chain(self.suspected.keys().copied()) {
            let counted = self.counted.get(&id, 0).map_err(failed(COUNTED))?;
            let forgotten = self.forgotten.get(&id, 0).map_err(failed(FORGOTTEN))?;
            balance.insert(id, (counted, forgotten));
        }
        Ok(balance)
    }

    /// Takes note of a flow's forward entry that was taken out of the established table. A closed one was counted
    /// off by the program.
    pub(super) fn forget(&mut self, key: &FlowKey, forward: &FlowRecord) {
        if forward.direction() == Direction::Forward && !forward.state().is_closed() {
            self.add_forgotten(forward.backend_id, 1);
            self.add_forgotten(service_account(forward.service_id()), 1);
            if forward.limit_rule != NO_RULE {
                let source = LimitedSource { network: key.source, rule: forward.limit_rule.into() };
                // Where it fails, the source has one connection less until its account gives way.
                let _ = map_calls::run(self.settle.as_fd(), bytemuck::bytes_of(&source));
            }
        }
    }

    fn add_forgotten(&mut self, account: u32, flows: i64) {
        // An id beyond the table, in a record that nobody wrote, has no account.
        if let Ok(forgotten) = self.forgotten.get(&account, 0) {
            let _ = self.forgotten.set(account, forgotten.wrapping_add_signed(flows), 0);
        }
    }

    /// Compares the accounts with a count of the flows themselves. Only where nothing moved while they were counted,
    /// and only a difference that is found twice in a row, is it an error of the accounts.
    pub(super) fn compare(
        &mut self,
        before: &Balance,
        found: &BTreeMap<u32, u64>,
    ) -> Result<(), DataplaneError> {
        let after = self.read()?;
        let mut suspected = BTreeMap::new();
        for (id, balance) in after.iter().filter(|(id, balance)| before.get(id) == Some(balance)) {
            let (counted, forgotten) = *balance;
            let found = found.get(id).copied().unwrap_or(0);
            let drift = counted.wrapping_sub(forgotten).wrapping_sub(found).cast_signed();
            if drift != 0 {
                suspected.insert(*id, drift);
            }
        }
        for (id, drift) in &suspected {
            if self.suspected.get(id) == Some(drift) {
                self.add_forgotten(*id, *drift);
            }
        }
        suspected.retain(|id, drift| self.suspected.get(id) != Some(drift));
        self.suspected = suspected;
        Ok(())
    }
}

/// The highest ids of a backend and of a service that have flows, also where neither is there any more.
pub(super) fn last_busy(ebpf: &Ebpf) -> Result<[Option<u32>; 2], DataplaneError> {
    let (counted, forgotten): (Array<MapData, u64>, Array<MapData, u64>) =
        (open(ebpf, COUNTED)?, open(ebpf, FORGOTTEN)?);
    let is_busy = |account: &u32| -> Result<bool, DataplaneError> {
        let counted = counted.get(account, 0).map_err(failed(COUNTED))?;
        Ok(active_flows_of(counted, forgotten.get(account, 0).map_err(failed(FORGOTTEN))?) > 0)
    };
    let last = |accounts: Range<u32>| -> Result<Option<u32>, DataplaneError> {
        for account in accounts.rev() {
            if is_busy(&account)? {
                return Ok(Some(account));
            }
        }
        Ok(None)
    };
    let service = last(MAX_BACKENDS..MAX_ACCOUNTS)?.map(|account| account - MAX_BACKENDS);
    Ok([last(0..MAX_BACKENDS)?, service])
}

impl Dataplane {
    /// Established flows of an account that are not closed, as of now: a backend address's id, or a service's account.
    pub fn active_flows(&self, id: u32) -> Result<u64, DataplaneError> {
        let counted: Array<&MapData, u64> = read_view(&self.ebpf, COUNTED)?;
        let forgotten: Array<&MapData, u64> = read_view(&self.ebpf, FORGOTTEN)?;
        let counted = counted.get(&id, 0).map_err(failed(COUNTED))?;
        let forgotten = forgotten.get(&id, 0).map_err(failed(FORGOTTEN))?;
        Ok(active_flows_of(counted, forgotten))
    }
}

fn settle_program(ebpf: &Ebpf) -> Result<ProgramFd, DataplaneError> {
    let Some(Program::Xdp(program)) = ebpf.program(SETTLE_PROGRAM) else {
        return Err(DataplaneError::Load(format!("no program {SETTLE_PROGRAM} in the object")));
    };
    let fd = program.fd().and_then(|fd| Ok(fd.try_clone()?));
    fd.map_err(|error| DataplaneError::Load(error.to_string()))
}

fn open(ebpf: &Ebpf, name: &'static str) -> Result<Array<MapData, u64>, DataplaneError> {
    let map: &Map = ebpf.map(name).ok_or_else(|| DataplaneError::Map {
        map: name,
        reason: "not in the program's object; rebuild it with `cargo xtask build-ebpf`".into(),
    })?;
    let Map::Array(data) = map else {
        return Err(DataplaneError::Map { map: name, reason: "not an array".into() });
    };
    let own = again(data, name)?;
    Array::try_from(Map::from_map_data(own).map_err(failed(name))?).map_err(failed(name))
}
