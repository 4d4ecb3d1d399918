//! What a virtual router is told, what it has done about that, and the words for its states. Decides nothing.

use super::advert::Advert;
use crate::model::{AdvertInterval, Priority, VirtualRouterId};
use std::net::IpAddr;
use std::time::Duration;

/// What a virtual router is told by the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its id.
    pub id: VirtualRouterId,
    /// How much this node is wanted.
    pub priority: Priority,
    /// How often this node advertises as Active.
    pub interval: AdvertInterval,
    /// Whether this node takes the addresses from one of lower priority.
    pub preempt: bool,
    /// For how long after its start it does not.
    pub preempt_delay: Duration,
    /// So many times within [`flap_window`](Self::flap_window) it does, and no more; 0: no limit.
    pub flap_limit: u32,
    /// See there.
    pub flap_window: Duration,
    /// The addresses, of one family.
    pub addresses: Vec<IpAddr>,
}

/// RFC 9568 §6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It takes no part.
    Initialize,
    /// It watches the Active router.
    Backup,
    /// It has the addresses.
    Active,
}

impl State {
    /// A word for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// It shall take part, with this as the node's own address on the network.
    Started {
        /// The primary address, or the link-local one: of two equal priorities the higher address wins.
        local: IpAddr,
    },
    /// The same, for one that has been Active without interruption although this machine did not exist: its agent was restarted in time.
    Resumed {
        /// As above.
        local: IpAddr,
    },
    /// The node has another address on the network.
    AddressChanged {
        /// As above.
        local: IpAddr,
    },
    /// It shall not any more.
    Stopped,
    /// An advertisement for this virtual router came from another node.
    AdvertReceived {
        /// Who sent it.
        from: IpAddr,
        /// What it says.
        advert: Advert,
    },
    /// The node is wanted more or less than before.
    PriorityChanged(Priority),
    /// Whether this node must not take the addresses from one that has them, as long as that advertises.
    PreemptionHeld(bool),
    /// Another node shall have the addresses, if there is one.
    HandedOver,
    /// One other node shall have the addresses, and is asked for that by another way: the others must not hear of it.
    Offered,
    /// This node is asked to take the addresses from one that offers them.
    Asked,
    /// Another of its group became Active.
    GroupActive,
    /// Another of its group was Active, and is not any more.
    GroupBackup,
    /// Time passed.
    TimePassed,
}

/// What to do about it, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advertisement with that priority.
    SendAdvert {
        /// The priority; 0 says that this node leaves.
        priority: u8,
    },
    /// Serve the addresses, and tell the network so.
    AcquireVips,
    /// Serve them no more.
    ReleaseVips,
    /// Tell the operator.
    Tell(News),
}

/// What an operator wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The state is another.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why.
        why: Why,
    },
    /// Another node advertises as Active, while this one is and will stay it: for a moment both serve.
    RivalHeard {
        /// The other node.
        from: IpAddr,
        /// Its priority.
        priority: u8,
    },
    /// The Active router advertises other addresses than this node is told to have.
    AddressesDiffer {
        /// The Active router.
        from: IpAddr,
    },
    /// Nobody took the addresses over; this node keeps them.
    HandOverFailed,
    /// It took the addresses from other nodes so often that it does so no more for now.
    Damped,
}

/// Why a state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The configuration, or a tracked interface, says so.
    Started,
    /// The same.
    Stopped,
    /// This node owns the addresses.
    Owner,
    /// An earlier agent of this node had them, and its lease is not over.
    Resumed,
    /// The Active router was not heard for too long.
    ActiveDown,
    /// The Active router said that it leaves.
    ActiveLeft,
    /// Only nodes of lower priority were heard.
    Preempted,
    /// One of higher priority, or of the same and a higher address, was heard.
    Yielded,
    /// The Active router asked this node to take its place.
    Asked,
    /// This node was told to leave, and another has taken its place.
    HandedOver,
    /// This node did not run for longer than others wait.
    Overslept,
    /// Another of its group did the same.
    Group,
}
