//! What became of a packet: one outcome each, with its verdict and its counter.
//!
//! `docs/dataplane.md` says the same at more length. An [`Occurrence`] is something that happened on the
//! way and does not decide the packet.

/// What the kernel does with the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// On to the host's own network stack, untouched.
    Pass,
    /// Dropped.
    Drop,
    /// Rewritten, out to the next hop (or back, as an answer).
    Transmit,
}

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $verdict:ident),+ $(,)?) => {
        /// What became of a packet.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Outcome { $($(#[doc = $doc])+ $variant),+ }

        impl Outcome {
            /// Every outcome, in the order of its counter.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// How many there are.
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// Its name in counters, metrics and documents.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),+ } }

            /// What the kernel does with the packet.
            #[inline(always)]
            pub const fn verdict(self) -> Verdict { match self { $(Self::$variant => Verdict::$verdict),+ } }

            /// One sentence for people.
            pub const fn description(self) -> &'static str { match self { $(Self::$variant => concat!($($doc),+)),+ } }
        }
    };
}

impl Outcome {
    /// Whether the packet is for the host, at the address of a VIP.
    #[inline(always)]
    pub const fn is_at_vip(self) -> bool {
        matches!(self, Self::NoService | Self::OtherProtocol | Self::IcmpToHost | Self::IcmpUnrelated)
    }
}

outcomes! {
    /// Not IPv4 or IPv6: ARP, LLDP and the like.
    NotIp = "not_ip" Pass,
    /// A VLAN tag: the program serves untagged frames only.
    VlanTagged = "vlan_tagged" Pass,
    /// Too short to hold an IP header, so nobody can say whose it is.
    Runt = "runt" Pass,
    /// The destination is no VIP of this node.
    NotOurs = "not_ours" Pass,
    /// To a VIP, but no service has that port, and it is not a NAT port of this node.
    NoService = "no_service" Pass,
    /// To a VIP, none of TCP, UDP and ICMP.
    OtherProtocol = "other_protocol" Pass,
    /// ICMP to a VIP that is no error: echo and neighbour discovery, answered by the host.
    IcmpToHost = "icmp_to_host" Pass,
    /// An ICMP error to a VIP that belongs to no flow: perhaps to a socket of the host.
    IcmpUnrelated = "icmp_unrelated" Pass,
    /// To a service that the agent itself serves, and nothing speaks against it.
    ToAgent = "to_agent" Pass,
    /// A client's SYN, or first datagram: took a slot and, where the mode wants one, a NAT port.
    NewFlow = "new_flow" Transmit,
    /// A client's SYN in a flood of them: answered with a SYN cookie, and not remembered.
    CookieSent = "cookie_sent" Transmit,
    /// A client's segment that brought a SYN cookie back: took a slot, and reached its backend as the SYN.
    CookieAccepted = "cookie_accepted" Transmit,
    /// A client's SYN to a backend that answers directly, in a flood of them, or what follows it: a hash chose the backend, and it is not remembered.
    Unrecorded = "unrecorded" Transmit,
    /// A packet of a handshake that is not complete yet, or of datagrams before the client's first after an answer.
    Handshake = "handshake" Transmit,
    /// The client's ACK that completed a handshake, or its first datagram after an answer.
    Promoted = "promoted" Transmit,
    /// Established flow, client to backend.
    ToBackend = "to_backend" Transmit,
    /// Established flow, backend to client.
    ToClient = "to_client" Transmit,
    /// An ICMP error about a flow, translated and sent to the side that must know.
    IcmpError = "icmp_error" Transmit,
    /// No backend can take the flow: answered with RST.
    NoBackend = "no_backend" Transmit,
    /// No backend can take the flow, and its service is told to say nothing, or is of datagrams.
    NoBackendDropped = "no_backend_dropped" Drop,
    /// The service, or its backends, have as many flows as they may have: answered with RST.
    AtLimit = "at_limit" Transmit,
    /// The same, and the service is told to say nothing, or is of datagrams, or the limit was reached while the flow was in
    /// its handshake.
    AtLimitDropped = "at_limit_dropped" Drop,
    /// A client's segment in its handshake that does not acknowledge the backend's answer, a guess or a stray: answered with RST.
    HandshakeMismatch = "handshake_mismatch" Transmit,
    /// To a service or NAT port, but of no flow: answered with RST.
    UnknownFlow = "unknown_flow" Transmit,
    /// A RST of no flow: nothing to answer.
    UnknownReset = "unknown_reset" Drop,
    /// Of no flow that is known here, a moment after this node took the VIP from another: its sender will send it again, and by then the
    /// other node may have told.
    InGrace = "in_grace" Drop,
    /// A client's SYN to a VIP that other nodes may take over, while the agent, which would tell them of the flow, is gone or hangs: its
    /// sender will send it again.
    Unheard = "unheard" Drop,
    /// A datagram to a NAT port, of no flow: nothing to answer.
    UnknownDatagram = "unknown_datagram" Drop,
    /// To a VIP that other nodes may have taken over, and the agent has not renewed the lease for it: nobody serves it here.
    LeaseOver = "lease_over" Drop,
    /// To a VIP that is there for its services alone, and for none of them.
    NotAccepted = "not_accepted" Drop,
    /// A rule of the firewall denies it.
    Denied = "denied" Drop,
    /// No rule of the firewall allows it, and the service, or the host, wants one.
    NotAllowed = "not_allowed" Drop,
    /// Its source opens connections faster than a rule of the firewall allows.
    OverRate = "over_rate" Drop,
    /// Its source has as many connections open as a rule of the firewall allows.
    OverActive = "over_active" Drop,
    /// A client's first datagram that says it comes from a VIP.
    BadSource = "bad_source" Drop,
    /// IPv4 or IPv6 header to a VIP whose version or lengths contradict the frame.
    BadIpHeader = "bad_ip_header" Drop,
    /// IPv4 options on a packet to a VIP.
    IpOptions = "ip_options" Drop,
    /// IPv6 extension headers on a packet to a VIP.
    Ipv6Extension = "ipv6_extension" Drop,
    /// A fragment to a VIP: only the first would have ports.
    Fragment = "fragment" Drop,
    /// A TCP header to a VIP that is cut short or whose length contradicts the packet.
    BadTcpHeader = "bad_tcp_header" Drop,
    /// TCP flags to a VIP that no sane stack sends: SYN with FIN or RST, or none of SYN, ACK, RST, FIN.
    BadTcpFlags = "bad_tcp_flags" Drop,
    /// A UDP header to a VIP that is cut short or whose length contradicts the packet.
    BadUdpHeader = "bad_udp_header" Drop,
    /// An ICMP header to a VIP that is cut short.
    BadIcmp = "bad_icmp" Drop,
    /// TTL or hop limit does not allow another hop.
    TtlExceeded = "ttl_exceeded" Drop,
    /// Eight NAT ports were taken, by nobody who rests.
    PortsExhausted = "ports_exhausted" Drop,
    /// The client's address and port, which the mode keeps, are in use towards that backend already: by way of another
    /// VIP or service.
    SourceTaken = "source_taken" Drop,
    /// The host has no route to the next hop.
    NoRoute = "no_route" Drop,
    /// The next hop's MAC address is not known yet.
    NoNeighbour = "no_neighbour" Drop,
    /// The kernel refuses look-ups because forwarding is off on the interface.
    ForwardingDisabled = "forwarding_disabled" Drop,
    /// Larger than the MTU of the route it would leave by.
    ExceedsMtu = "exceeds_mtu" Drop,
    /// The flow could not be recorded: the embryonic table refused it.
    TableRefused = "table_refused" Drop,
    /// A map that must be there is not: a fault of lbctl.
    Internal = "internal" Drop,
}

macro_rules! occurrences {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// Something that happened on the way of a packet and does not decide it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Occurrence { $($(#[doc = $doc])+ $variant),+ }

        impl Occurrence {
            /// Every occurrence, in the order of its counter.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// How many there are.
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// Its name in counters, metrics and documents.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),+ } }

            /// One sentence for people.
            pub const fn description(self) -> &'static str { match self { $(Self::$variant => concat!($($doc),+)),+ } }
        }
    };
}

occurrences! {
    /// A NAT port was taken already, the next one was tried.
    PortCollision = "port_collision",
    /// A flow in its handshake had lost its NAT port to another (evicted in a flood) and was forgotten.
    PortLost = "port_lost",
    /// A NAT port of a closed flow, of datagrams that rested, or of a handshake that did, was used again.
    PortReused = "port_reused",
    /// A SYN on the tuple of a closed flow began a new flow.
    TupleReused = "tuple_reused",
    /// Both sides' FINs were acknowledged: the flow was forgotten.
    FlowEnded = "flow_ended",
    /// A handshake was complete but the established table was full: the flow stays embryonic.
    EstablishedFull = "established_full",
    /// A cached next hop was looked up again.
    NextHopRefreshed = "next_hop_refreshed",
    /// The look-up failed and the old next hop was kept.
    NextHopKept = "next_hop_kept",
    /// A segment of no flow, while cookies are sent, brought none back that was good.
    CookieMismatch = "cookie_mismatch",
    /// There was no room to tell the agent about a flow, for other nodes: it tells them about all flows anew.
    SyncMissed = "sync_missed",
    /// A flow that the firewall denies by now was forgotten.
    FlowCut = "flow_cut",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_outcome_counts_at_its_own_place_under_its_own_name() {
        for (place, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, place);
        }
        let names: BTreeSet<_> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
        assert_eq!(names.len(), Outcome::ALL.len());
    }

    #[test]
    fn every_occurrence_counts_at_its_own_place_under_its_own_name() {
        for (place, occurrence) in Occurrence::ALL.iter().enumerate() {
            assert_eq!(*occurrence as usize, place);
        }
        let names: BTreeSet<_> = Occurrence::ALL.iter().map(|occurrence| occurrence.name()).collect();
        assert_eq!(names.len(), Occurrence::ALL.len());
    }

    #[test]
    fn what_cannot_be_shown_to_be_ours_passes_untouched() {
        for outcome in [Outcome::NotIp, Outcome::VlanTagged, Outcome::Runt, Outcome::NotOurs] {
            assert_eq!(outcome.verdict(), Verdict::Pass);
        }
    }
}
