//! What the program says about a packet when it runs only to explain.

use super::{Address, Decision};
use bytemuck::{Pod, Zeroable};

/// No backend.
pub const NO_BACKEND: u32 = u32::MAX;

/// No service.
pub const NO_SERVICE: u32 = u32::MAX;

/// How a packet came to its outcome. What the rewritten packet itself tells is not here.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Explanation {
    /// Name hash of the service it is for; 0 is none.
    pub service: u64,
    /// State of its flow, as [`crate::flow_state::FlowState`] has it.
    pub state: u64,
    /// Number of its outcome.
    pub outcome: u32,
    /// The interface it leaves by; 0 is the one it came from.
    pub ifindex: u32,
    /// The client of its flow; all zero where there is none.
    pub client: Address,
    /// What the firewall's rules decided last.
    pub decision: Decision,
    /// 1: the firewall was asked.
    pub judged: u32,
    /// Where its flow is: 0 nowhere, 1 in the embryonic table, 2 in the established one, 3 it would begin one.
    pub flow: u32,
    /// Its flow's backend; [`NO_BACKEND`] is none.
    pub backend_id: u32,
    /// Its direction in the flow: 0 client to backend, 1 backend to client.
    pub direction: u32,
    /// Id of the service it is for, or its flow is of; [`NO_SERVICE`] is none.
    pub service_id: u32,
}

impl Explanation {
    /// Nothing known yet.
    pub const START: Self = Self {
        service: 0,
        state: 0,
        outcome: 0,
        ifindex: 0,
        client: Address::NONE,
        decision: Decision::new(super::Judgement::None),
        judged: 0,
        flow: 0,
        backend_id: NO_BACKEND,
        direction: 0,
        service_id: NO_SERVICE,
    };
}
